-- An agent remembers one conversation per chat, and a worktree outlives its session.
--
-- Every old agent session and every task without a chat is given one: the oldest chat of its
-- session, made where the session has none. `before_*` keep what was there for
-- 0002_chat_agents.verify.sql; they are temporary and go with the connection.

CREATE TEMP TABLE before_worktrees AS SELECT * FROM session_worktrees;
CREATE TEMP TABLE before_agents AS SELECT * FROM agent_sessions;
CREATE TEMP TABLE before_tasks AS SELECT id, session_id, chat_id, agent, state FROM tasks;

-- Chats ----------------------------------------------------------------------------------------

INSERT INTO chats (id, session_id, state, created_at, closed_at)
SELECT 'c-'
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1)
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1)
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1)
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1)
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1)
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1)
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1)
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1),
    s.id, s.state, s.created_at, s.closed_at
FROM sessions AS s
WHERE NOT EXISTS (SELECT 1 FROM chats AS c WHERE c.session_id = s.id)
  AND (EXISTS (SELECT 1 FROM agent_sessions AS a WHERE a.session_id = s.id)
       OR EXISTS (SELECT 1 FROM tasks AS t WHERE t.session_id = s.id AND t.chat_id IS NULL));

CREATE TEMP TABLE home_chats AS
SELECT session_id, id AS chat_id FROM (
    SELECT session_id, id,
           row_number() OVER (PARTITION BY session_id ORDER BY state = 'closed', created_at, id) AS place
    FROM chats
) WHERE place = 1;

-- Worktrees ------------------------------------------------------------------------------------

CREATE TABLE worktrees (
    id           TEXT PRIMARY KEY,
    session_id   TEXT REFERENCES sessions (id) ON DELETE SET NULL,
    repo         TEXT NOT NULL,
    path         TEXT NOT NULL UNIQUE,
    branch       TEXT NOT NULL,
    base_commit  TEXT,
    common_dir   TEXT,
    device       INTEGER,
    inode        INTEGER,
    state        TEXT NOT NULL CHECK (state IN ('creating', 'active', 'orphaned', 'archived', 'purged')),
    created_at   INTEGER NOT NULL,
    orphaned_at  INTEGER,
    last_write   INTEGER,
    size_bytes   INTEGER,
    salvage_ref  TEXT,
    kept_because TEXT
) STRICT;
CREATE INDEX worktrees_by_session ON worktrees (session_id);

-- OR IGNORE: two sessions on one path are for the verify query to name.
INSERT OR IGNORE INTO worktrees (id, session_id, repo, path, branch, base_commit, common_dir, device,
                                 inode, state, created_at, orphaned_at)
SELECT 'w-'
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1)
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1)
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1)
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1)
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1)
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1)
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1)
    || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + (random() & 31), 1),
    o.session_id, s.repo, o.path, o.branch, o.base_commit, o.common_dir, o.device, o.inode,
    CASE s.state WHEN 'open' THEN 'active' ELSE 'orphaned' END, o.created_at, s.closed_at
FROM session_worktrees AS o JOIN sessions AS s ON s.id = o.session_id;

-- Agent sessions -------------------------------------------------------------------------------

CREATE TABLE new_agent_sessions (
    chat_id          TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    agent            TEXT NOT NULL,
    session_id       TEXT REFERENCES sessions (id) ON DELETE SET NULL,
    worktree_id      TEXT REFERENCES worktrees (id) ON DELETE SET NULL,
    backend          TEXT NOT NULL DEFAULT 'acp',
    status           TEXT CHECK (status IN ('starting', 'idle', 'busy', 'evicted', 'crashed', 'backoff',
                                            'circuit_open', 'closed')),
    generation       INTEGER NOT NULL DEFAULT 0,
    restarts         INTEGER NOT NULL DEFAULT 0,
    pid              INTEGER,
    backend_session  TEXT,
    has_history      INTEGER NOT NULL DEFAULT 0,
    context          TEXT,
    config_hash      TEXT,
    exit_code        INTEGER,
    exit_signal      INTEGER,
    exit_stderr      TEXT,
    exit_at          INTEGER,
    created_at       INTEGER NOT NULL,
    PRIMARY KEY (chat_id, agent)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO new_agent_sessions (chat_id, agent, session_id, worktree_id, backend, status, generation,
                                          backend_session, has_history, config_hash, created_at)
SELECT h.chat_id, a.agent, a.session_id, w.id, a.backend, a.status, a.generation, a.backend_session,
       a.has_history, a.config_hash, a.created_at
FROM agent_sessions AS a
JOIN home_chats AS h ON h.session_id = a.session_id
LEFT JOIN worktrees AS w ON w.session_id = a.session_id;

DROP TABLE agent_sessions;
ALTER TABLE new_agent_sessions RENAME TO agent_sessions;
CREATE INDEX agent_sessions_by_session ON agent_sessions (session_id);
CREATE INDEX agent_sessions_by_worktree ON agent_sessions (worktree_id);

-- Tasks ----------------------------------------------------------------------------------------

CREATE TABLE new_tasks (
    num         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    chat_id     TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    agent       TEXT NOT NULL,
    request_id  TEXT UNIQUE,
    state       TEXT NOT NULL CHECK (state IN ('queued', 'held', 'dispatched', 'running',
                                               'completed', 'failed', 'cancelled', 'interrupted')),
    source      TEXT NOT NULL,
    backend     TEXT,
    permissions TEXT CHECK (permissions IN ('ask', 'allow', 'reject')),
    no_wait     INTEGER NOT NULL DEFAULT 0,
    prompt      TEXT NOT NULL,
    parent      TEXT,
    generation  INTEGER,
    created_at  INTEGER NOT NULL,
    started_at  INTEGER,
    ended_at    INTEGER,
    stop_reason TEXT,
    error       TEXT,
    text        TEXT
) STRICT;

INSERT INTO new_tasks (num, id, chat_id, agent, request_id, state, source, backend, permissions, no_wait, prompt,
                       parent, generation, created_at, started_at, ended_at, stop_reason, error, text)
SELECT t.num, t.id, coalesce(t.chat_id, h.chat_id), t.agent, t.request_id, t.state, t.source, t.backend,
       t.permissions, t.no_wait, t.prompt, t.parent, t.generation, t.created_at, t.started_at, t.ended_at,
       t.stop_reason, t.error, t.text
FROM tasks AS t LEFT JOIN home_chats AS h ON h.session_id = t.session_id
WHERE coalesce(t.chat_id, h.chat_id) IS NOT NULL;

DROP TABLE tasks;
ALTER TABLE new_tasks RENAME TO tasks;
-- With the state, so that what waits is counted without looking at what has long ended.
CREATE INDEX tasks_by_chat ON tasks (chat_id, agent, state);
CREATE INDEX tasks_open ON tasks (num) WHERE state IN ('queued', 'held', 'dispatched', 'running');

-- The rows of session_worktrees have moved; the verify query has the last word on it.
DROP TABLE session_worktrees;
