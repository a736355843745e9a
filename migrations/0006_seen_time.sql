-- Retention counts the time that the daemon saw pass, not what the wall clock says.
--
-- One row, from the first look at the clocks on. `boot_ms` counts from the boot named `boot`.
CREATE TABLE seen_time (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    total_ms     INTEGER NOT NULL,
    boot         TEXT,
    boot_ms      INTEGER NOT NULL,
    wall_ms      INTEGER NOT NULL,
    jumped_at_ms INTEGER
) STRICT;

-- The total when a worktree came to stand where it stands, or, of a purged one, into the trash.
-- What is there already begins with nothing seen: it stays longer, and never shorter.
ALTER TABLE worktrees ADD COLUMN seen_since INTEGER;
UPDATE worktrees SET seen_since = 0
WHERE (state = 'orphaned' AND orphaned_at IS NOT NULL)
   OR (state IN ('archived', 'purged') AND archived_at IS NOT NULL);
