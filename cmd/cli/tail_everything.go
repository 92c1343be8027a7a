package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/ticketed/doorman/cmd/cli/load"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// everything follows all streams through the catalog, which lists them by their last change: whatever is
// listed above the newest position of the last look has changed since.
//
// A stream that changes while the catalog is walked moves to its front, past the walk. So a walk of several
// pages is followed by another over what has moved meanwhile, until one page holds that: then the walk has
// found all that had changed up to the newest position on that page, and what is told ends there. Where the
// catalog moves too fast for that, a stream may be missed, which the next look finds: so each stream's own
// changes are told from where that stream was left, which is remembered, and the mark stays until a look
// was whole.
type everything struct {
	client  *client.Client
	kind    string
	out     *tailLines
	notes   io.Writer
	contact *contact

	mark   commands.Position          // up to which all has been told
	newest commands.Position          // of the last walk
	told   map[commands.Stream]uint64 // position of the newest change told, of what has changed since mark
	barren bool                       // the last walk found a catalog with nothing in it
}

const (
	lookAgain   = 500 * time.Millisecond
	lookWithin  = 10 * time.Second // for one answer
	pageOfAll   = 200
	mostChanged = 5_000   // streams that one walk looks up
	mostTold    = 250_000 // streams that are remembered
	mostLines   = 100_000 // changes told of one walk
	mostWalks   = 10      // of one look
)

// run looks again and again, until the context ends.
func (e *everything) run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := e.look(ctx)
		switch {
		case err == nil:
			e.contact.back()
		case errors.Is(err, errWrite):
			return err
		case ctx.Err() == nil:
			e.contact.lost(err)
		}
		if err := load.Pause(ctx, lookAgain); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// look tells what has changed since the last look.
func (e *everything) look(ctx context.Context) error {
	found, err := e.walk(ctx)
	if err != nil || found.newest == (commands.Position{}) {
		return err
	}
	lines, err := e.changes(ctx, found)
	if err != nil {
		return err // told later: nothing is remembered of it
	}
	if extra := len(lines) - mostLines; extra > 0 {
		fmt.Fprintf(e.notes, "%d changes were left out: more than %d came at once.\n", extra, mostLines)
		lines = lines[extra:]
	}
	for i := range lines {
		push := client.Push{Event: commands.PushState, State: &lines[i]}
		if found.whole { // in order of position, so nothing from before it is still to be told
			push.Mark = lines[i].Position
		}
		if err := e.out.push(&push); err != nil {
			return err
		}
		e.told[lines[i].Stream] = lines[i].Position.N
	}
	switch {
	case found.whole:
		e.goOn(found.newest)
		return nil
	case len(e.told) > mostTold: // those told up to the walk before have nothing left that lies below it
		maps.DeleteFunc(e.told, func(_ commands.Stream, at uint64) bool { return at <= e.newest.N })
		e.mark = e.newest
	}
	e.newest = found.newest
	return nil
}

// goOn begins anew at a position up to which nothing is left to tell.
func (e *everything) goOn(from commands.Position) {
	e.mark, e.newest, e.out.mark = from, from, from
	clear(e.told)
}

// walked is what a walk has found: whole when that is all that changed since the last one, up to newest.
type walked struct {
	streams map[commands.Stream]commands.StreamView
	newest  commands.Position
	whole   bool
}

// walk lists the streams that have changed since the last look.
func (e *everything) walk(ctx context.Context) (*walked, error) {
	w := &walked{streams: map[commands.Stream]commands.StreamView{}}
	for range mostWalks {
		since := w.newest // of the walk before, whose streams may have moved while it went on
		pages, err := e.walkTo(ctx, since, w)
		if err != nil {
			return nil, err
		}
		if len(w.streams) > mostChanged {
			fmt.Fprintf(e.notes, "More than %d streams have changed since position %s: what they did is left out. "+
				"Name the streams to follow, or a --type.\n", mostChanged, e.newest)
			e.goOn(w.newest)
			return &walked{newest: w.newest, whole: true}, nil
		}
		if w.whole = pages <= 1; w.whole {
			break
		}
	}
	return w, nil
}

// walkTo goes through the catalog from its front, down to a position or that of the last look, and tells how
// many pages that took.
func (e *everything) walkTo(ctx context.Context, since commands.Position, w *walked) (pages int, err error) {
	for after := ""; ; {
		page, err := e.page(ctx, after)
		if err != nil {
			return pages, err
		}
		if pages++; pages == 1 {
			w.newest = commands.Position{}
			if len(page.Items) > 0 {
				w.newest = page.Items[0].Position
			}
			e.begin(w.newest)
			if since.Epoch != e.newest.Epoch {
				clear(w.streams)
			}
			if since.Epoch != e.newest.Epoch || since.N < e.newest.N {
				since = e.newest
			}
			if w.newest.N < e.newest.N { // the catalog follows the log, from which the mark is
				w.newest = e.newest
			}
		}
		for i := range page.Items {
			item := &page.Items[i]
			if item.Position.N <= since.N || item.Position.Epoch != since.Epoch {
				return pages, nil
			}
			if known, again := w.streams[item.Stream]; !again || known.Position.N < item.Position.N {
				w.streams[item.Stream] = *item
			}
		}
		if after = page.After; after == "" || len(w.streams) > mostChanged {
			return pages, nil
		}
	}
}

func (e *everything) page(ctx context.Context, after string) (commands.StreamsView, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	return e.client.Streams(ctx, e.kind, after, pageOfAll)
}

// begin takes the first look's position for the beginning. Of another history no place is known but its end,
// or its beginning when the last look has seen that nothing was in it yet.
func (e *everything) begin(newest commands.Position) {
	barren := e.barren
	e.barren = newest == (commands.Position{})
	if e.told == nil {
		e.told = map[commands.Stream]uint64{}
		if e.mark == (commands.Position{}) {
			e.mark = newest
		}
		e.goOn(e.mark)
	}
	if e.barren || newest.Epoch == e.newest.Epoch {
		return
	}
	begin := newest
	if barren {
		begin.N = 0
	}
	if e.newest != (commands.Position{}) {
		fmt.Fprintf(e.notes, "The mark %s is of another log than the server's: beginning anew at %s, the end of the log as it is now.\n",
			e.newest, begin)
	}
	e.goOn(begin)
}

// changes reads what is new of the streams found, in order of position. What came after the walk is left to
// the next one: others may have come before it.
func (e *everything) changes(ctx context.Context, found *walked) ([]commands.PushView, error) {
	var lines []commands.PushView
	for stream := range found.streams {
		view := found.streams[stream]
		since, known := e.told[stream]
		if !known {
			since = e.mark.N
		}
		some, err := e.since(ctx, &view, since)
		if err != nil {
			return nil, err
		}
		some = slices.DeleteFunc(some, func(c commands.ChangeView) bool { return c.Position.N > found.newest.N })
		lines = append(lines, landings(stream, some)...)
	}
	slices.SortFunc(lines, func(a, b commands.PushView) int { return cmp.Compare(a.Position.N, b.Position.N) })
	return lines, nil
}

// since reads a stream's changelog from its end back to a position.
func (e *everything) since(ctx context.Context, stream *commands.StreamView, position uint64) ([]commands.ChangeView, error) {
	var all []commands.ChangeView
	limit := uint64(20) // mostly that is enough
	for to := stream.Version; to > 0 && len(all) < mostLines; limit = 1000 {
		from := to - min(to, limit)
		limited, cancel := context.WithTimeout(ctx, lookWithin)
		page, err := e.client.Events(limited, stream.Stream, from, int(to-from)) //nolint:gosec // 1000 at most
		cancel()
		if err != nil {
			return nil, err
		}
		first, _ := slices.BinarySearchFunc(page, position+1,
			func(c commands.ChangeView, at uint64) int { return cmp.Compare(c.Position.N, at) })
		all = append(slices.Clone(page[first:]), all...)
		if first > 0 {
			break
		}
		to = from
	}
	return all, nil
}

// landings puts together what one command did.
func landings(stream commands.Stream, changes []commands.ChangeView) []commands.PushView {
	var all []commands.PushView
	for i := range changes {
		change := &changes[i]
		if i == 0 || changes[i-1].Command.ID != change.Command.ID {
			all = append(all, commands.PushView{Stream: stream, Ticket: change.Command.ID, Position: change.Position,
				Command: &change.Command, At: change.At})
		}
		last := &all[len(all)-1]
		last.Version = change.Version
		last.Events = append(last.Events, *change)
	}
	return all
}
