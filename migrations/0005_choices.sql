-- Which mode and model a person chose for an agent session, and what agents offer.

ALTER TABLE agent_sessions ADD COLUMN mode TEXT;
ALTER TABLE agent_sessions ADD COLUMN model TEXT;

CREATE INDEX events_of_offers ON events (chat_id, agent, type) WHERE type IN ('mode', 'models');

-- What an agent offered last, in whichever chat, for chats in which it was not started yet.
CREATE TABLE offers (
    agent     TEXT NOT NULL,
    -- The type of the event that told of it.
    kind      TEXT NOT NULL CHECK (kind IN ('mode', 'models')),
    -- The value that a new conversation begins with.
    current   TEXT,
    -- JSON, as the agent sent it.
    available TEXT NOT NULL,
    PRIMARY KEY (agent, kind)
) STRICT, WITHOUT ROWID;
