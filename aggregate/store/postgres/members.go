package postgres

import (
	"context"
	"encoding/binary"

	"github.com/ticketed/doorman/aggregate/worker/group"
)

// Members is the list of the worker processes of one store, kept in its database. Its clock is that of the
// database.
type Members struct{ store *Store }

var _ group.Members = (*Members)(nil)

// Members is the list of this store's workers. It uses the connections for commits: to wait behind readers
// would look like death.
func (s *Store) Members() *Members { return &Members{s} }

// renewMember is one statement, so the rows of all others are as they were when it began. Those that have
// lapsed are removed by whoever comes to it first; nobody waits for that.
var renewMember = &statement{"renew_member", `
with lapse as (
       select $3::bigint * interval '1 microsecond' as time
     ), self as (
       insert into members as m (id, name) values ($1, $2)
       on conflict (id) do update
          set name = excluded.name, seen = clock_timestamp(),
              joined = case when m.seen > now() - (select time from lapse) then m.joined else excluded.joined end
       returning m.id, m.name, m.joined
     ), gone as (
       delete from members where id in (
              select id from members where id <> $1 and seen <= now() - (select time from lapse)
                 for update skip locked)
     )
select id, name, joined from self
 union all
select id, name, joined from members where id <> $1 and seen > now() - (select time from lapse)
 order by joined`}

// Renew says that a worker lives, and returns all that do, in the order in which they joined.
func (m *Members) Renew(ctx context.Context, self group.Member) ([]group.Member, error) {
	var living []group.Member
	lapse := binary.BigEndian.AppendUint64(nil, uint64(group.Lapse.Microseconds()))
	err := m.store.commits.query(ctx, renewMember, func(r row) error {
		living = append(living, group.Member{ID: r.text(0), Name: r.text(1)})
		return nil
	}, []byte(self.ID), []byte(self.Name), lapse)
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
