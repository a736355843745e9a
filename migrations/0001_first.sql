-- The first shape: an agent remembers one conversation per session, and a session's worktree is
-- described beside it. Migration 0002 moves both.
--
-- Times are milliseconds since 1970, UTC. Ids are opaque text.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    id            TEXT PRIMARY KEY,
    repo          TEXT NOT NULL,
    title         TEXT,
    base          TEXT,
    carry_changes INTEGER NOT NULL DEFAULT 0,
    origin        TEXT,
    state         TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
    created_at    INTEGER NOT NULL,
    closed_at     INTEGER
) STRICT;

CREATE TABLE session_worktrees (
    session_id  TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    path        TEXT NOT NULL,
    branch      TEXT NOT NULL,
    base_commit TEXT NOT NULL,
    common_dir  TEXT,
    device      INTEGER,
    inode       INTEGER,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE chats (
    id         TEXT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    title      TEXT,
    subdir     TEXT NOT NULL DEFAULT '',
    state      TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
    held       INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    closed_at  INTEGER
) STRICT;
CREATE INDEX chats_by_session ON chats (session_id);

CREATE TABLE agent_sessions (
    session_id       TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    agent            TEXT NOT NULL,
    backend          TEXT NOT NULL DEFAULT 'acp',
    status           TEXT,
    generation       INTEGER NOT NULL DEFAULT 0,
    backend_session  TEXT,
    has_history      INTEGER NOT NULL DEFAULT 0,
    config_hash      TEXT,
    created_at       INTEGER NOT NULL,
    PRIMARY KEY (session_id, agent)
) STRICT, WITHOUT ROWID;

-- `num` is the order of acceptance.
CREATE TABLE tasks (
    num         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    session_id  TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    chat_id     TEXT REFERENCES chats (id) ON DELETE CASCADE,
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
CREATE INDEX tasks_by_chat ON tasks (chat_id);
CREATE INDEX tasks_by_session ON tasks (session_id);
CREATE INDEX tasks_open ON tasks (num) WHERE state IN ('queued', 'held', 'dispatched', 'running');

CREATE TABLE turns (
    id             TEXT PRIMARY KEY,
    task_id        TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    attempt        INTEGER NOT NULL,
    generation     INTEGER NOT NULL,
    context        TEXT,
    started_at     INTEGER NOT NULL,
    ended_at       INTEGER,
    outcome        TEXT CHECK (outcome IN ('completed', 'failed', 'cancelled', 'interrupted')),
    stop_reason    TEXT,
    error          TEXT,
    duration_ms    INTEGER,
    first_token_ms INTEGER,
    input          INTEGER,
    output         INTEGER,
    reasoning      INTEGER,
    cached_read    INTEGER,
    cached_write   INTEGER,
    context_used   INTEGER,
    context_size   INTEGER,
    cost           REAL,
    currency       TEXT,
    files          TEXT,
    CHECK ((ended_at IS NULL) = (outcome IS NULL)),
    UNIQUE (task_id, attempt)
) STRICT;
CREATE INDEX turns_open ON turns (task_id) WHERE ended_at IS NULL;

CREATE TABLE permissions (
    id          TEXT PRIMARY KEY,
    turn_id     TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    task_id     TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    generation  INTEGER NOT NULL,
    state       TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'answered', 'expired', 'stale')),
    title       TEXT NOT NULL,
    kind        TEXT NOT NULL,
    call        TEXT,
    input       TEXT,
    content     TEXT,
    options     TEXT NOT NULL,
    chosen      TEXT,
    answered_by TEXT,
    created_at  INTEGER NOT NULL,
    resolved_at INTEGER
) STRICT;
CREATE INDEX permissions_by_turn ON permissions (turn_id);
CREATE INDEX permissions_by_task ON permissions (task_id);
CREATE INDEX permissions_pending ON permissions (created_at) WHERE state = 'pending';

-- The journal outlives what it tells of, hence no foreign keys. `payload` holds the fields that
-- only this type of event has, as one JSON object.
CREATE TABLE events (
    seq        INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    session_id TEXT,
    chat_id    TEXT,
    agent      TEXT,
    generation INTEGER,
    task_id    TEXT,
    turn_id    TEXT,
    type       TEXT NOT NULL,
    payload    TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_session ON events (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX events_by_chat ON events (chat_id) WHERE chat_id IS NOT NULL;
CREATE INDEX events_by_task ON events (task_id) WHERE task_id IS NOT NULL;

CREATE TABLE processes (
    attempt          INTEGER PRIMARY KEY,
    label            TEXT NOT NULL,
    agent            TEXT,
    chat_id          TEXT REFERENCES chats (id) ON DELETE SET NULL,
    created_at       INTEGER NOT NULL,
    pid              INTEGER,
    start_time       INTEGER,
    boot_id          TEXT,
    agent_pid        INTEGER,
    agent_start_time INTEGER,
    ended_at         INTEGER,
    detail           TEXT
) STRICT;
CREATE INDEX processes_open ON processes (attempt) WHERE ended_at IS NULL;
CREATE INDEX processes_by_chat ON processes (chat_id);

CREATE TABLE changes (
    id         INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    turn_id    TEXT REFERENCES turns (id) ON DELETE SET NULL,
    agent      TEXT,
    path       TEXT NOT NULL,
    old_path   TEXT,
    kind       TEXT NOT NULL,
    shared     INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX changes_by_session ON changes (session_id);
CREATE INDEX changes_by_turn ON changes (turn_id);

CREATE TABLE arenas (
    id            TEXT PRIMARY KEY,
    request_id    TEXT UNIQUE,
    repo          TEXT NOT NULL,
    prompt        TEXT NOT NULL,
    carry_changes INTEGER NOT NULL DEFAULT 0,
    check_command TEXT,
    state         TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'adopted', 'closed')),
    winner        TEXT REFERENCES sessions (id) ON DELETE SET NULL,
    created_at    INTEGER NOT NULL,
    closed_at     INTEGER
) STRICT;
CREATE INDEX arenas_by_winner ON arenas (winner);
