-- Who changed what in a worktree, and how far a removal has come.
--
-- Trees are named by their object id in hex.

-- What counts as the person's own: the tree at creation, and everything that was adopted or given
-- up since. NULL: the tree of `base_commit`.
ALTER TABLE worktrees ADD COLUMN baseline TEXT;
-- The tree that was seen last; what differs from it when it is looked at again is a new segment.
ALTER TABLE worktrees ADD COLUMN last_tree TEXT;
-- The tombstone: a removal or a restore that was begun and is not done, as one JSON object.
ALTER TABLE worktrees ADD COLUMN removal TEXT;
ALTER TABLE worktrees ADD COLUMN archived_at INTEGER;

-- Set when it is not known who wrote since the last look; the next segment carries it.
ALTER TABLE worktrees ADD COLUMN doubt INTEGER NOT NULL DEFAULT 0;

-- The tree before its prompt was sent, and after its end. `watch` says whether the turn may still be
-- writing: until its end was looked at it may (`open`); one whose agent is known to be gone has its
-- last word with the next look (`closing`).
ALTER TABLE turns ADD COLUMN before_tree TEXT;
ALTER TABLE turns ADD COLUMN after_tree TEXT;
ALTER TABLE turns ADD COLUMN watch TEXT CHECK (watch IN ('open', 'closing', 'closed'));
CREATE INDEX turns_watched ON turns (id) WHERE watch IN ('open', 'closing');

-- What changed in a worktree between two looks at it. `writers` are the turns that were under way,
-- as a JSON array of {turn, agent}; an empty one means the person. `doubt` is set where somebody
-- else may have written as well.
CREATE TABLE segments (
    num         INTEGER PRIMARY KEY AUTOINCREMENT,
    worktree_id TEXT NOT NULL REFERENCES worktrees (id) ON DELETE CASCADE,
    from_tree   TEXT NOT NULL,
    to_tree     TEXT NOT NULL,
    writers     TEXT NOT NULL,
    doubt       INTEGER NOT NULL DEFAULT 0,
    at          INTEGER NOT NULL
) STRICT;
CREATE INDEX segments_by_worktree ON segments (worktree_id, num);
