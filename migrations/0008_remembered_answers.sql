-- What persons said once of all questions of a kind, for an agent in a chat.

CREATE TABLE remembered_answers (
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    agent   TEXT NOT NULL,
    -- The tool kind; where the agent tells none, the tool or the title behind `other: `.
    kind    TEXT NOT NULL,
    answer  TEXT NOT NULL CHECK (answer IN ('allow', 'reject')),
    said_at INTEGER NOT NULL,
    PRIMARY KEY (chat_id, agent, kind)
) STRICT, WITHOUT ROWID;
