-- What a hook of the person's changed is the hook's, and not the person's own edit.
ALTER TABLE segments ADD COLUMN by_hook INTEGER NOT NULL DEFAULT 0;
