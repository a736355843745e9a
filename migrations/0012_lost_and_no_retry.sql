-- Why what the agent remembered of the chat was lost before a turn: told to whoever asked for it.
ALTER TABLE turns ADD COLUMN context_lost TEXT;
-- A task that fails where its agent cannot be started, rather than wait for another start.
ALTER TABLE tasks ADD COLUMN no_retry INTEGER NOT NULL DEFAULT 0;
