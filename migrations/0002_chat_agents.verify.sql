-- Returns one row, in words, for everything that 0002 lost or left without a chat. Must return none.

SELECT 'worktree ' || o.path || ' of session ' || o.session_id || ' was lost'
FROM before_worktrees AS o
WHERE NOT EXISTS (
    SELECT 1 FROM worktrees AS w
    WHERE w.session_id = o.session_id AND w.path = o.path AND w.branch = o.branch
      AND w.base_commit = o.base_commit AND w.common_dir IS o.common_dir
      AND w.device IS o.device AND w.inode IS o.inode)

UNION ALL
SELECT 'agent session (' || o.session_id || ', ' || o.agent || ') was lost'
FROM before_agents AS o
WHERE 1 <> (
    SELECT count(*) FROM agent_sessions AS a
    WHERE a.session_id = o.session_id AND a.agent = o.agent AND a.generation = o.generation
      AND a.status IS o.status AND a.backend_session IS o.backend_session AND a.config_hash IS o.config_hash)

UNION ALL
SELECT 'agent session (' || a.chat_id || ', ' || a.agent || ') has no chat in session ' || coalesce(a.session_id, '(none)')
FROM agent_sessions AS a
WHERE NOT EXISTS (SELECT 1 FROM chats AS c WHERE c.id = a.chat_id AND c.session_id = a.session_id)

UNION ALL
SELECT 'task ' || o.id || ' of session ' || o.session_id || ' was lost'
FROM before_tasks AS o
WHERE NOT EXISTS (
    SELECT 1 FROM tasks AS t WHERE t.id = o.id AND t.agent = o.agent AND t.state = o.state)

UNION ALL
SELECT 'task ' || o.id || ' has no chat in session ' || o.session_id
FROM before_tasks AS o JOIN tasks AS t ON t.id = o.id
WHERE NOT EXISTS (
    SELECT 1 FROM chats AS c
    WHERE c.id = t.chat_id AND c.session_id = o.session_id AND (o.chat_id IS NULL OR c.id = o.chat_id))
