package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
)

// readWaitingOf probes the index once for each session; the second condition on it is that of the index. Of the
// bodies, which may be large, $3 bytes are taken.
var readWaitingOf = &statement{"read_waiting_of", `
select p.id, p.seq, p.parked_at, p.deadline, p.name, p.session, substring(p.body for $3::integer), lanes.worked
  from unnest($1::bytea[]) as asked (session)
 cross join lateral (
       select * from parked
        where session = asked.session and session <> ''
        order by n limit $2::bigint
       ) p
  join lanes on lanes.lane = p.lane
 order by p.n
 limit $2::bigint`}

var headParam = binary.BigEndian.AppendUint32(nil, record.EnvelopeHead)

// WaitingOf tells which commands of sessions are parked; see store.Reader.
func (s *Store) WaitingOf(ctx context.Context, sessions []string, limit int) ([]store.CommandStatus, error) {
	sessions = slices.Compact(slices.Sorted(slices.Values(sessions)))
	var asked column
	asked.start(pgtype.ByteaOID, len(sessions))
	for _, session := range sessions {
		asked.text(session)
	}
	var found []store.CommandStatus
	err := s.reads.query(ctx, readWaitingOf, func(r row) error {
		w := &aggregate.Waiting{Seq: r.uint64(1), ParkedAt: r.time(2), Deadline: time.Duration(r.int64(3))}
		w.ID, w.Stream, w.Session = r.id(0), r.stream(4), r.text(5)
		var err error
		if w.Ticket, err = record.EnvelopeTicket(r.bytes(6)); err != nil {
			return fmt.Errorf("parked command %s: %w", w.ID, err)
		}
		found = append(found, store.CommandStatus{ID: w.ID, Waiting: w,
			Until: time.Now().UTC().Add(w.Deadline - time.Duration(r.int64(7))).Truncate(time.Microsecond)})
		return nil
	}, asked.b, limitParam(limit), headParam)
	if err != nil {
		return nil, failure("read what waits", err)
	}
	return found, nil
}
