package postgres

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/ticketed/doorman/aggregate/worker/group"
)

// Members is the list of the worker processes of one store, kept in its database. Its clock is that of the
// database.
type Members struct{ store *Store }

var _ group.Members = (*Members)(nil)

// Members is the list of this store's workers. It uses the connections for commits: to wait behind readers
// would look like death.
func (s *Store) Members() *Members { return &Members{s} }

// renewMember is one statement, so the rows of all others are as they were when it began. Those that do not live any
// more are removed by whoever comes to it first; nobody waits for that.
var renewMember = &statement{"renew_member", `
with times as (
       select $3::bigint * interval '1 microsecond' as lapse, $4::bigint * interval '1 microsecond' as cut
     ), self as (
       insert into members as m (id, name, session) values ($1, $2, pg_backend_pid())
       on conflict (id) do update
          set name = excluded.name, seen = clock_timestamp(), session = excluded.session,
              joined = case when m.seen > now() - (select lapse from times) then m.joined else excluded.joined end
       returning m.id, m.name, m.joined
     ), gone as (
       delete from members where id in (
              select m.id from members m, times t
               where m.id <> $1 and not member_lives(m.seen, m.session, t.lapse, t.cut) for update of m skip locked)
     )
select id, name, joined from self
 union all
select m.id, m.name, m.joined from members m, times t
 where m.id <> $1 and member_lives(m.seen, m.session, t.lapse, t.cut)
 order by joined`}

// Renew says that a worker lives, and returns all that do, in the order in which they joined.
func (m *Members) Renew(ctx context.Context, self group.Member) ([]group.Member, error) {
	var living []group.Member
	micros := func(d time.Duration) []byte { return binary.BigEndian.AppendUint64(nil, uint64(d.Microseconds())) }
	err := m.store.commits.query(ctx, renewMember, func(r row) error {
		living = append(living, group.Member{ID: r.text(0), Name: r.text(1)})
		return nil
	}, []byte(self.ID), []byte(self.Name), micros(group.Lapse), micros(group.Cut))
	if err != nil {
		return nil, failure("renew a worker's membership", err)
	}
	return living, nil
}

var removeMember = &statement{"remove_member", `delete from members where id = $1`}

// Leave takes a worker off the list.
func (m *Members) Leave(ctx context.Context, id string) error {
	err := m.store.commits.query(ctx, removeMember, func(row) error { return nil }, []byte(id))
	if err != nil {
		return failure("remove a worker", err)
	}
	return nil
}
