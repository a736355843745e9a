-- Which session the person used last: counted, because clocks are set. 0 is never, as every entry of
-- an arena is.
ALTER TABLE sessions ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
CREATE INDEX sessions_by_use ON sessions (used);

-- What is there already: by the person's last prompt, or else by when it was made.
UPDATE sessions SET used = place.used FROM (
    SELECT s.id, row_number() OVER (ORDER BY max(s.created_at, coalesce(p.prompted_at, 0)), s.rowid) AS used
    FROM sessions AS s
    LEFT JOIN (SELECT c.session_id, max(t.created_at) AS prompted_at
               FROM tasks AS t JOIN chats AS c ON c.id = t.chat_id
               WHERE t.source <> 'mcp' OR t.parent IS NULL
               GROUP BY c.session_id) AS p ON p.session_id = s.id
    WHERE s.origin IS NOT 'arena') AS place
WHERE place.id = sessions.id;
