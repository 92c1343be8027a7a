//go:build unix

package faults

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// row is one outcome, as it stands in the log.
type row struct {
	position uint64
	version  uint64
	landed   bool
	id       commands.ID
	stream   commands.Stream
	seen     time.Time
}

// journal reads the log as it grows, straight from the database, by nobody's way but its own. It is the
// reader of promise 6: who sees a position has seen all below it.
type journal struct {
	url        string
	complaints *complaints

	mu    sync.Mutex
	grown chan struct{} // closed when there is more
	rows  []row         // by position, from 1
	known map[commands.ID]uint64
}

// lookEvery is how often the log is looked at, and so how much later than it happened a landing is seen.
const lookEvery = 20 * time.Millisecond

func newJournal(t *testing.T, url string, found *complaints) *journal {
	t.Helper()
	j := &journal{url: url, complaints: found, grown: make(chan struct{}), known: map[commands.ID]uint64{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		j.follow(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return j
}

// follow reads on until the context ends, over outages of the database.
func (j *journal) follow(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		conn, err := pgx.Connect(ctx, j.url)
		for err == nil {
			err = j.look(ctx, conn)
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		if conn != nil {
			_ = conn.Close(context.Background())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

const readLog = `select position, version, stream is not null, id::text, name from doorman.log where position > $1
order by position limit 10000`

func (j *journal) look(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	rows, err := conn.Query(ctx, readLog, j.head())
	if err != nil {
		return err
	}
	defer rows.Close()
	var more []row
	for rows.Next() {
		var r row
		var id, name string
		if err := rows.Scan(&r.position, &r.version, &r.landed, &id, &name); err != nil {
			return err
		}
		if r.id, _ = commands.ParseID(id); r.id == commands.None {
			return fmt.Errorf("position %d has the id %s", r.position, id)
		}
		if r.stream, err = commands.ParseStream(name); err != nil {
			return err
		}
		r.seen = time.Now()
		more = append(more, r)
	}
	if rows.Err() != nil {
		return rows.Err()
	}
	j.take(more)
	return nil
}

func (j *journal) take(more []row) {
	if len(more) == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range more {
		if want := uint64(len(j.rows)) + 1; r.position != want {
			j.complaints.add("the log: position %d was seen before %d (promise 6)", r.position, want)
			return
		}
		if before, twice := j.known[r.id]; twice {
			j.complaints.add("the log: %s has the positions %d and %d (promise 3)", r.id, before, r.position)
		}
		j.rows = append(j.rows, r)
		j.known[r.id] = r.position
	}
	close(j.grown)
	j.grown = make(chan struct{})
}

// head is the newest position seen.
func (j *journal) head() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return uint64(len(j.rows))
}

// after gives what came after a position, and what to wait for when that is not enough.
func (j *journal) after(position uint64) (rows []row, grown <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clip(j.rows[min(position, uint64(len(j.rows))):]), j.grown
}

// has tells whether a command has an outcome.
func (j *journal) has(id commands.ID) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.known[id] > 0
}

// landedSince counts the landings that were seen since a moment.
func (j *journal) landedSince(moment time.Time) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range slices.Backward(j.rows) {
		if r.seen.Before(moment) {
			break
		}
		if r.landed {
			n++
		}
	}
	return n
}

// query reads one column of few rows from the database.
func query[T any](t *testing.T, url, text string, args ...any) []T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(ctx, text, args...)
	require.NoError(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[T])
	require.NoError(t, err)
	return all
}

// complaints are what was found wrong, by whomever.
type complaints struct {
	mu  sync.Mutex
	all []string
	n   int
}

const mostComplaints = 50

func (c *complaints) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n++; c.n <= mostComplaints {
		c.all = append(c.all, fmt.Sprintf(format, args...))
	}
}

// take gives what was found since it was asked last.
func (c *complaints) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.all
	if c.n > len(all) {
		all = append(all, fmt.Sprintf("and %d more", c.n-len(all)))
	}
	c.all, c.n = nil, 0
	return all
}
