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
// per command, and bytes of write-ahead log per command (exact only while nobody else uses the server). The worker
// gives a small stream's state every 8 versions.
func BenchmarkCost(b *testing.B) {
	for _, shape := range []struct {
		streams int
		every   uint64
	}{{2000, 8}, {100, 8}, {2000, 1}} {
		for _, size := range []int{1, 50, 500, 1000, 2000} {
			b.Run(fmt.Sprintf("streams=%d/every=%d/batch=%d", shape.streams, shape.every, size), func(b *testing.B) {
				cost(b, shape.streams, shape.every, size)
			})
		}
	}
}

// cost gives every stream a state every so many versions.
func cost(b *testing.B, streams int, every uint64, size int) {
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
	data, state := bytes.Repeat([]byte("0123456789"), 15), bytes.Repeat([]byte("0123456789"), 25)
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
			batch.Outcomes = append(batch.Outcomes, o)
			if !changed[h] {
				changed[h], h.State, h.StateVersion = true, nil, 0
				batch.Heads = append(batch.Heads, h)
			}
			if h.Head.Version%every == 0 {
				h.State, h.StateVersion = state, h.Head.Version
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

// BenchmarkReads reads from a log of 100,000 landings on 2,000 streams; a tail is 16 events long at most.
func BenchmarkReads(b *testing.B) {
	ctx := context.Background()
	config := postgres.Config{URL: postgrestest.URL(), Schema: postgrestest.Schema(b), Lanes: lanes, Migrate: true}
	s := open(b, config)
	claims, err := s.Acquire(ctx, []int{0, 1, 2, 3}, "reads")
	require.NoError(b, err)
	names := make([]commands.Stream, 2000)
	for i := range names {
		names[i] = commands.Stream{Type: "order", ID: strconv.Itoa(i)}
	}
	records, err := s.Load(ctx, names)
	require.NoError(b, err)
	var ids []commands.ID
	for version := range uint64(50) {
		batch := &store.Batch{Claims: claims}
		for i, r := range records {
			o := &commands.Outcome{ID: commands.NewID(), Stream: names[i], Type: "add_line", Version: version + 1,
				At: time.Now(), Events: []commands.Event{{Type: "line_added", Schema: 1, Data: bytes.Repeat([]byte("0123456789"), 15)}}}
			change := &store.HeadChange{Stream: names[i], Handle: r.Handle, Head: aggregate.Head{Version: version + 1, Action: o.ID}}
			if (version+uint64(i))%16 == 0 {
				change.State, change.StateVersion = bytes.Repeat([]byte("0123456789"), 25), version+1
			}
			batch.Outcomes, batch.Heads = append(batch.Outcomes, o), append(batch.Heads, change)
			ids = append(ids, o.ID)
		}
		_, err := s.Commit(ctx, batch)
		require.NoError(b, err)
	}
	for name, read := range map[string]func(i int) error{
		"Head":        func(i int) error { _, _, err := s.Head(ctx, names[i%2000]); return err },
		"StateBefore": func(i int) error { _, err := s.StateBefore(ctx, names[i%2000], uint64(i%50)); return err },
		"Changes/20":  func(i int) error { _, err := s.Changes(ctx, names[i%2000], uint64(i%30), 20); return err },
		"Load/1":      func(i int) error { _, err := s.Load(ctx, names[i%2000:i%2000+1]); return err },
		"Load/1000":   func(i int) error { _, err := s.Load(ctx, names[i%1000:i%1000+1000]); return err },
		"Lookup/1":    func(i int) error { _, err := s.Lookup(ctx, ids[i%100_000:i%100_000+1]); return err },
		"Lookup/1000": func(i int) error { _, err := s.Lookup(ctx, ids[i%99_000:i%99_000+1000]); return err },
		"Status/256":  func(i int) error { _, err := s.Status(ctx, ids[i%99_000:i%99_000+256]); return err },
		"Log/1":       func(i int) error { _, err := s.Log(ctx, uint64(i%100_000), 1); return err },
		"Log/1000":    func(i int) error { _, err := s.Log(ctx, uint64(i%99_000), 1000); return err },
		"End":         func(int) error { _, err := s.End(ctx); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				require.NoError(b, read(i*7919))
			}
		})
	}
}
