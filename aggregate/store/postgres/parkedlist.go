package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
)

// Of the bodies, which may be large, $3 bytes are taken.
const parkedColumns = `
select p.n, p.id, p.seq, p.parked_at, p.deadline, p.name, substring(p.body for $3::integer), lanes.worked`

var readParked = &statement{"read_parked", parkedColumns + `
  from parked p
  join lanes on lanes.lane = p.lane
 where p.n > $1
 order by p.n
 limit $2::bigint`}

var readParkedOf = &statement{"read_parked_of", parkedColumns + `
  from parked p
  join lanes on lanes.lane = p.lane
 where p.n > $1 and p.lane = $4 and p.name = $5
 order by p.n
 limit $2::bigint`}

// ParkedList shows what is parked; see store.ParkedList.
func (s *Store) ParkedList(ctx context.Context, query store.ParkedQuery) ([]store.ParkedEntry, error) {
	read, params := readParked, [][]byte{numberParam(query.After), limitParam(query.Limit), headSizeParam}
	if query.Stream != nil {
		read = readParkedOf
		params = append(params, intParam(query.Stream.Lane(s.Identity().Lanes)), nameParam(*query.Stream))
	}
	var found []store.ParkedEntry
	err := s.reads.query(ctx, read, func(r row) error {
		w := &aggregate.Waiting{Seq: r.uint64(2), ParkedAt: r.time(3), Deadline: time.Duration(r.int64(4))}
		w.ID, w.Stream = r.id(1), r.stream(5)
		if err := record.DecodeEnvelopeHead(r.bytes(6), &w.Envelope); err != nil {
			return fmt.Errorf("parked command %s: %w", w.ID, err)
		}
		w.Session = ""
		found = append(found, store.ParkedEntry{N: r.uint64(0), CommandStatus: store.CommandStatus{ID: w.ID, Waiting: w,
			Until: time.Now().UTC().Add(w.Deadline - time.Duration(r.int64(7))).Truncate(time.Microsecond)}})
		return nil
	}, params...)
	if err != nil {
		return nil, failure("list what is parked", err)
	}
	return found, nil
}
