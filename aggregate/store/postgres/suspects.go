package postgres

import (
	"context"

	"github.com/ticketed/doorman/commands"
)

// noteSuspect forgets those that are a day old: whatever they were about has come to its end.
var noteSuspect = &statement{"note_suspect", `
with old as (
       delete from suspects where id in (
              select id from suspects where id <> $1 and at < now() - interval '1 day' limit 1000 for update skip locked)
     )
insert into suspects as s (id, process, processes, at) values ($1, $2, 1, now())
    on conflict (id) do update
   set processes = s.processes + (s.process <> excluded.process)::integer, process = excluded.process, at = now()
returning processes`}

// Suspect notes that a process is about to judge a command alone, and tells how many have noted that, this one
// included.
func (s *Store) Suspect(ctx context.Context, id commands.ID, process string) (processes int, err error) {
	err = s.commits.query(ctx, noteSuspect, func(r row) error {
		processes = r.int(0)
		return nil
	}, id[:], []byte(process))
	if err != nil {
		return 0, failure("note a suspect", err)
	}
	return processes, nil
}
