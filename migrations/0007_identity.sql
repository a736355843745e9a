-- Which directory a worktree is, told again when the numbers of devices have changed: when it was made, in
-- nanoseconds, the boot that its device number is of, and a mark of ours in its entry in the repository.
-- Worktrees of before get theirs at a start at which device and inode still agree.
ALTER TABLE worktrees ADD COLUMN birth INTEGER;
ALTER TABLE worktrees ADD COLUMN boot TEXT;
ALTER TABLE worktrees ADD COLUMN mark TEXT;
