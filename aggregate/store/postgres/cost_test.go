package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/commands"
)

// BenchmarkCost says what a commit costs the server: processor time of the backend and of this process
// per command, and bytes of write-ahead log per command (exact only while nobody else uses the server).
func BenchmarkCost(b *testing.B) {
	for _, shape := range []struct{ streams, state int }{{2000, 250}, {100, 250}, {2000, 0}} {
		for _, size := range []int{1, 50, 500, 1000, 2000} {
			b.Run(fmt.Sprintf("streams=%d/state=%d/batch=%d", shape.streams, shape.state, size), func(b *testing.B) {
				cost(b, shape.streams, shape.state, size)
			})
		}
	}
}

func cost(b *testing.B, streams, stateSize, size int) {
	ctx := context.Background()
	config := postgres.Config{URL: postgrestest.URL(), Schema: postgrestest.Schema(b), Lanes: 16, Migrate: true}
	s := open(b, config)
	conn := postgrestest.Connect(b)
	lanes := make([]int, 16)
	for i := range lanes {
		lanes[i] = i
	}
	claims, err := s.Acquire(ctx, lanes, "cost")
	require.NoError(b, err)
	names := make([]commands.Stream, streams)
	for i := range names {
		names[i] = commands.Stream{Type: "order", ID: strconv.Itoa(i)}
	}
	records, err := s.Load(ctx, names)
	require.NoError(b, err)
	heads := make([]*store.HeadChange, streams)
	for i, r := range records {
		heads[i] = &store.HeadChange{Stream: r.Stream, Handle: r.Handle}
	}
	data, state := bytes.Repeat([]byte("0123456789"), 15), bytes.Repeat([]byte("0123456789"), stateSize/10)
	random := uint64(1)
	at := time.Now().UTC().Truncate(time.Microsecond)
	batch := func() *store.Batch {
		batch := &store.Batch{Claims: claims}
		changed := map[*store.HeadChange]bool{}
		for range size {
			random = random*6364136223846793005 + 1442695040888963407
			h := heads[(random>>33)%uint64(streams)]
			h.Head.Version++
			o := &commands.Outcome{ID: commands.NewID(), Stream: h.Stream, Type: "add_line", Ticket: h.Head.Action,
				Session: "0123456789abcdef", Actor: "Ann", At: at, Version: h.Head.Version,
				Events: []commands.Event{{Type: "line_added", Schema: 1, Data: data}}}
			h.Head = aggregate.Head{Version: h.Head.Version, Action: o.ID, At: at, Session: o.Session}
			if stateSize > 0 {
				h.State, h.StateVersion = state, h.Head.Version
			}
			batch.Outcomes = append(batch.Outcomes, o)
			if !changed[h] {
				changed[h] = true
				batch.Heads = append(batch.Heads, h)
			}
		}
		return batch
	}
	for n := 0; n < 2*streams; n += size {
		_, err := s.Commit(ctx, batch())
		require.NoError(b, err)
	}
	var pid int
	require.NoError(b, conn.QueryRow(ctx, `select pid from pg_stat_activity where application_name = $1 and query like '%commit_batch%'`, "doorman "+config.Schema).Scan(&pid))
	var wal float64
	lsn := func() (at float64) {
		require.NoError(b, conn.QueryRow(ctx, `select (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8`).Scan(&at))
		return at
	}
	var client, server time.Duration
	var each []time.Duration
	done := 0
	var took time.Duration
	for done < b.N {
		next := batch()
		w0 := lsn()
		c0, s0, started := ownTime(), processTime(b, pid), time.Now()
		_, err := s.Commit(ctx, next)
		took += time.Since(started)
		require.NoError(b, err)
		client += ownTime() - c0
		spent := processTime(b, pid) - s0
		server += spent
		each = append(each, spent)
		wal += lsn() - w0
		done += size
	}
	n := float64(done)
	b.ReportMetric(n/took.Seconds(), "cmd/s")
	b.ReportMetric(float64(client.Nanoseconds())/n/1000, "client-us/cmd")
	b.ReportMetric(float64(server.Nanoseconds())/n/1000, "server-us/cmd")
	b.ReportMetric(wal/n, "wal-B/cmd")
	slices.Sort(each)
	b.ReportMetric(float64(each[len(each)/10].Nanoseconds())/1000/float64(size), "best-us/cmd")
	b.ReportMetric(0, "ns/op")
}

func ownTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// processTime reads the nanoseconds that a process of this machine has run.
func processTime(b *testing.B, pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	require.NoError(b, err, "the server must run on this machine")
	first, _, _ := strings.Cut(string(text), " ")
	ns, err := strconv.ParseInt(first, 10, 64)
	require.NoError(b, err)
	return time.Duration(ns)
}
