-- The entries of an arena: a session each, what its check came to, and what it had changed when the
-- arena was decided.

ALTER TABLE arenas ADD COLUMN base_commit TEXT;
-- The task whose agent started it; NULL for a person's.
ALTER TABLE arenas ADD COLUMN parent TEXT;
-- Who was adopted; `winner` is the session, which can be deleted.
ALTER TABLE arenas ADD COLUMN winner_agent TEXT;

-- Sessions, chats and tasks can be deleted; the arena remembers who took part.
CREATE TABLE arena_entries (
    arena_id         TEXT NOT NULL REFERENCES arenas (id) ON DELETE CASCADE,
    position         INTEGER NOT NULL,
    agent            TEXT NOT NULL,
    session_id       TEXT REFERENCES sessions (id) ON DELETE SET NULL,
    task_id          TEXT REFERENCES tasks (id) ON DELETE SET NULL,
    check_started_at INTEGER,
    -- The leader of its process group, so that one that outlived the daemon can be ended.
    check_leader     TEXT,
    check_ended_at   INTEGER,
    check_outcome    TEXT CHECK (check_outcome IN ('passed', 'failed', 'timed_out')),
    check_exit       INTEGER,
    check_output     TEXT,
    files            INTEGER,
    insertions       INTEGER,
    deletions        INTEGER,
    PRIMARY KEY (arena_id, agent),
    CHECK ((check_ended_at IS NULL) = (check_outcome IS NULL))
) STRICT;
CREATE INDEX arena_entries_by_session ON arena_entries (session_id);
CREATE INDEX arena_entries_by_task ON arena_entries (task_id);
