-- A request id is its owner's alone: '' is the person, else the task at the root of the agents that
-- brought it. What is there already is the person's.

CREATE TABLE new_tasks (
    num           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    chat_id       TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    agent         TEXT NOT NULL,
    request_owner TEXT NOT NULL DEFAULT '',
    request_id    TEXT,
    state         TEXT NOT NULL CHECK (state IN ('queued', 'held', 'dispatched', 'running',
                                                 'completed', 'failed', 'cancelled', 'interrupted')),
    source        TEXT NOT NULL,
    backend       TEXT,
    permissions   TEXT CHECK (permissions IN ('ask', 'allow', 'reject')),
    no_wait       INTEGER NOT NULL DEFAULT 0,
    prompt        TEXT NOT NULL,
    parent        TEXT,
    generation    INTEGER,
    created_at    INTEGER NOT NULL,
    started_at    INTEGER,
    ended_at      INTEGER,
    stop_reason   TEXT,
    error         TEXT,
    text          TEXT,
    UNIQUE (request_owner, request_id)
) STRICT;

INSERT INTO new_tasks (num, id, chat_id, agent, request_id, state, source, backend, permissions, no_wait,
                       prompt, parent, generation, created_at, started_at, ended_at, stop_reason, error, text)
SELECT num, id, chat_id, agent, request_id, state, source, backend, permissions, no_wait,
       prompt, parent, generation, created_at, started_at, ended_at, stop_reason, error, text
FROM tasks;

DROP TABLE tasks;
ALTER TABLE new_tasks RENAME TO tasks;
CREATE INDEX tasks_by_chat ON tasks (chat_id, agent, state);
CREATE INDEX tasks_open ON tasks (num) WHERE state IN ('queued', 'held', 'dispatched', 'running');

CREATE TABLE new_arenas (
    id            TEXT PRIMARY KEY,
    request_owner TEXT NOT NULL DEFAULT '',
    request_id    TEXT,
    repo          TEXT NOT NULL,
    base_commit   TEXT,
    prompt        TEXT NOT NULL,
    carry_changes INTEGER NOT NULL DEFAULT 0,
    check_command TEXT,
    state         TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'adopted', 'closed')),
    -- The task whose agent started it; NULL for a person's.
    parent        TEXT,
    winner        TEXT REFERENCES sessions (id) ON DELETE SET NULL,
    -- Who was adopted; `winner` is the session, which can be deleted.
    winner_agent  TEXT,
    created_at    INTEGER NOT NULL,
    closed_at     INTEGER,
    UNIQUE (request_owner, request_id)
) STRICT;

-- In the order in which they were started, which the row numbers keep.
INSERT INTO new_arenas (id, request_id, repo, base_commit, prompt, carry_changes, check_command, state,
                        parent, winner, winner_agent, created_at, closed_at)
SELECT id, request_id, repo, base_commit, prompt, carry_changes, check_command, state,
       parent, winner, winner_agent, created_at, closed_at
FROM arenas ORDER BY rowid;

DROP TABLE arenas;
ALTER TABLE new_arenas RENAME TO arenas;
CREATE INDEX arenas_by_winner ON arenas (winner);
