package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
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
	"github.com/ticketed/doorman/commands"
)

// Benchmark measures what commits cost: batches of 50, 500 and 2,000 commands over 2,000 streams with
// events of 150 bytes, and a state of 250 with every eighth landing, as the worker gives them, with ids of
// version 7; then batches of 500 with a state each, with ids of version 4, or with 30 in 100 landings coming
// out of the parking lot. It reports, besides time per command, commands/s, the processor time of the whole
// process per command (cpu-us/cmd; a database server's own is not in it), bytes written to files and sockets
// per command (written-B/cmd), and the 99th percentile of Commit in milliseconds (p99-ms).
func Benchmark(b *testing.B, backend Backend) {
	for _, size := range []int{50, 500, 2000} {
		b.Run(fmt.Sprintf("landed=%d", size), func(b *testing.B) { benchmarkCommit(b, backend, traffic{size: size, states: 8}) })
	}
	b.Run("landed=500,states=all", func(b *testing.B) {
		benchmarkCommit(b, backend, traffic{size: 500, states: 1})
	})
	b.Run("landed=500,ids=random", func(b *testing.B) {
		benchmarkCommit(b, backend, traffic{size: 500, states: 8, randomIDs: true})
	})
	b.Run("landed=500,unparked=150", func(b *testing.B) {
		benchmarkCommit(b, backend, traffic{size: 500, states: 8, unparked: 150})
	})
}

// traffic is one kind of load.
type traffic struct {
	size      int  // commands of a batch
	states    int  // one landing in this many gives a state
	unparked  int  // commands of a batch that come out of the lot
	randomIDs bool // ids of version 4
}

const benchmarkStreams = 2000

func benchmarkCommit(b *testing.B, backend Backend, kind traffic) {
	d := newData(b, backend)
	a := newAuthor(b, d.store)
	streams := make([]commands.Stream, benchmarkStreams)
	for i := range streams {
		streams[i] = stream(strconv.Itoa(i))
	}
	loaded := load(b, d.store, streams...)
	for i, r := range loaded {
		a.records[streams[i]] = r
	}
	data := bytes.Repeat([]byte("0123456789"), 15)
	state := bytes.Repeat([]byte("0123456789"), 25)
	compose := composer{author: a, streams: streams, traffic: kind, data: data, state: state}
	for n := 0; n < 2*benchmarkStreams; n += kind.size {
		compose.batch()
		a.commit()
	}

	// The clock of testing.B is not stopped around the composing of batches, since stopping it costs
	// more than a small commit; what is reported is summed up here.
	var took []time.Duration
	var spent, total time.Duration
	var out int64
	landed := 0
	for landed < b.N {
		batch := compose.batch()
		writtenBefore, usedBefore, started := written(), used(), time.Now()
		_, err := d.store.Commit(context.Background(), batch)
		took = append(took, time.Since(started))
		spent += used() - usedBefore
		out += written() - writtenBefore
		total += took[len(took)-1]
		require.NoError(b, err)
		compose.keep(batch)
		landed += kind.size
	}
	slices.Sort(took)
	n := float64(landed)
	b.ReportMetric(float64(total.Nanoseconds())/n, "ns/op")
	b.ReportMetric(n/total.Seconds(), "cmd/s")
	b.ReportMetric(float64(spent.Microseconds())/n, "cpu-us/cmd")
	b.ReportMetric(float64(out)/n, "written-B/cmd")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// composer makes batches of one kind without the checks of the author, whose cost would be measured.
type composer struct {
	author      *author
	streams     []commands.Stream
	traffic     traffic
	data, state []byte
	next        int
	random      uint64
	lot         []*aggregate.Waiting
}

// pick chooses streams evenly and in no order (a linear congruential generator, the same in every run).
func (c *composer) pick() commands.Stream {
	c.random = c.random*6364136223846793005 + 1442695040888963407
	return c.streams[(c.random>>33)%uint64(len(c.streams))]
}

func (c *composer) batch() *store.Batch {
	a := c.author
	a.begin()
	batch := a.batch
	lot := c.lot
	c.lot = nil
	for range c.traffic.size {
		var o *commands.Outcome
		if len(lot) > 0 {
			o, lot = a.settled(lot[0]), lot[1:]
		} else {
			s := c.pick()
			o = &commands.Outcome{ID: c.id(), Stream: s, Type: "add_line", Ticket: a.records[s].Head.Action,
				Session: "0123456789abcdef", Actor: "Ann", At: a.tick()}
		}
		o.Events = []commands.Event{{Type: "line_added", Schema: 1, Data: c.data}}
		c.next++
		change := a.landing(o)
		change.State, change.StateVersion = nil, 0
		if c.next%c.traffic.states == 0 {
			change.State, change.StateVersion = c.state, o.Version
		}
	}
	for range c.traffic.unparked {
		w := a.park(c.pick(), time.Minute)
		w.ID, w.Data = c.id(), c.data
		c.lot = append(c.lot, w)
	}
	return batch
}

func (c *composer) id() commands.ID {
	id := commands.NewID()
	if c.traffic.randomIDs {
		binary.BigEndian.PutUint64(id[:8], rand.Uint64())
		id[6] = 0x40 | id[6]&0x0f
	}
	return id
}

func (c *composer) keep(batch *store.Batch) {
	for _, change := range batch.Heads {
		r := c.author.records[change.Stream]
		r.Head, r.Handle = change.Head, change.Handle
	}
	c.author.begin()
}

// used is the processor time of all threads of this process.
func used() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// written is how many bytes this process has handed to write calls, where the kernel tells.
func written() int64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if number, ok := strings.CutPrefix(line, "wchar: "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
			return n
		}
	}
	return 0
}
