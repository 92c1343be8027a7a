package catalogtest

import (
	"context"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/catalog"
	"github.com/ticketed/doorman/projections/runner"
)

// filled applies a row for each of so many streams of two types, five of a batch.
func (d *data) filled(streams int) (rows []catalog.Row) {
	d.begin()
	for n := 1; n <= streams; n++ {
		kind := "order"
		if n%4 == 0 {
			kind = "document"
		}
		rows = append(rows, row(stream(kind, n), uint64(n)))
	}
	for batch := range slices.Chunk(rows, 5) {
		d.apply(batch...)
	}
	slices.Reverse(rows)
	return rows
}

func ofType(kind string, rows []catalog.Row) []catalog.Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r catalog.Row) bool { return r.Stream.Type != kind })
}

// DESIGN section 3, GET /v1/streams: by last change.
var reading = []test{
	{"pages of any size follow each other, of one type and of all", func(d *data) {
		want := d.filled(33)
		for limit := 1; limit <= 40; limit++ {
			require.Equal(d, want, d.all(catalog.Ask{Limit: limit}))
			require.Equal(d, ofType("order", want), d.all(catalog.Ask{Type: "order", Limit: limit}))
			require.Equal(d, ofType("document", want), d.all(catalog.Ask{Type: "document", Limit: limit}))
		}
		require.Empty(d, d.all(catalog.Ask{Type: "orde", Limit: 10}))
		require.Empty(d, d.all(catalog.Ask{Type: "order2", Limit: 10}))
	}},
	{"a page goes on below any position", func(d *data) {
		want := d.filled(9)
		for before := uint64(1); before <= 12; before++ {
			rest := slices.DeleteFunc(slices.Clone(want), func(r catalog.Row) bool { return r.Position >= before })
			require.ElementsMatch(d, rest, d.all(catalog.Ask{Limit: 100, Before: before}))
		}
		require.Equal(d, want, d.all(catalog.Ask{Limit: 100, Before: 1 << 63}))
	}},
	{"tenants see their own streams", func(d *data) {
		d.begin()
		theirs, ours := row(commands.Stream{Tenant: "acme", Type: "order", ID: "1"}, 1), row(stream("order", 1), 2)
		theirs.Stream.ID, ours.Stream.ID = "1", "1"
		d.apply(theirs, ours)
		for _, kind := range []string{"", "order"} {
			require.Equal(d, []catalog.Row{ours}, d.all(catalog.Ask{Type: kind, Limit: 10}))
			require.Equal(d, []catalog.Row{theirs}, d.all(catalog.Ask{Tenant: "acme", Type: kind, Limit: 10}))
			require.Empty(d, d.all(catalog.Ask{Tenant: "a", Type: kind, Limit: 10}))
		}
	}},
	{"a walk while rows move tells of each stream once at most, and of all that stay where they are", func(d *data) {
		for _, kind := range []string{"", "order"} {
			want := d.filled(40)
			if kind != "" {
				want = ofType(kind, want)
			}
			moved := map[commands.Stream]bool{}
			got := d.walk(catalog.Ask{Type: kind, Limit: 3}, func(pages int) {
				for _, old := range []catalog.Row{want[pages], want[len(want)-pages], want[(7*pages)%len(want)]} {
					moved[old.Stream] = true
					d.apply(row(old.Stream, d.at+1))
				}
			})
			seen := map[commands.Stream]bool{}
			for _, r := range got {
				require.False(d, seen[r.Stream], "%s is told of twice", r.Stream)
				seen[r.Stream] = true
			}
			for _, r := range want {
				require.True(d, seen[r.Stream] || moved[r.Stream], "%s is not told of", r.Stream)
			}
		}
	}},
	{"rows and checkpoint are of one moment, and reading does not wait for those who write", func(d *data) {
		d.begin()
		d.apply(row(stream("order", 1), 1), row(stream("document", 1), 2))
		reader := d.another()
		stop, stopped := make(chan struct{}), make(chan error)
		go func() {
			for at := d.checkpoint(); ; {
				select {
				case <-stop:
					stopped <- nil
					return
				default:
				}
				next := runner.Checkpoint{Epoch: "e1", Position: at.Position + 2}
				rows := []catalog.Row{row(stream("order", 1), at.Position+1), row(stream("document", 1), at.Position+2)}
				if err := d.Apply(context.Background(), rows, at, next); err != nil {
					stopped <- err
					return
				}
				at = next
			}
		}()
		for range 100 {
			page, err := reader.Page(context.Background(), catalog.Ask{Limit: 2})
			require.NoError(d, err)
			require.Len(d, page.Rows, 2)
			require.Equal(d, page.At.Position, page.Rows[0].Position)
			require.Equal(d, page.At.Position-1, page.Rows[1].Position)
		}
		close(stop)
		require.NoError(d, <-stopped)
	}},
}
