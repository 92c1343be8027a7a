package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
)

// row is an order in the table, and how far it is: the sequence of its last event. Both are saved together, and only then
// is the event acknowledged. What was not acknowledged comes again, and what was saved already is known by its sequence.
type row struct {
	Sequence uint64          `json:"sequence"`
	Source   string          `json:"source"` // whose sequence that is
	Status   string          `json:"status"`
	Lines    map[string]line `json:"lines"`
}

type line struct {
	Qty        int64 `json:"qty"`
	PriceCents int64 `json:"price_cents"`
}

// apply is what an event makes of an order. /asyncapi.json has all of them, and what is in each.
func (r *row) apply(kind string, data []byte) error {
	var e struct {
		SKU        string
		Qty        int64
		PriceCents int64 `json:"price_cents"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("event %s: %w", kind, err)
	}
	switch kind {
	case "line_added":
		r.Lines[e.SKU] = line{e.Qty, e.PriceCents}
	case "line_changed":
		r.Lines[e.SKU] = line{e.Qty, r.Lines[e.SKU].PriceCents}
	case "line_removed":
		delete(r.Lines, e.SKU)
	case "submitted", "approved", "refused":
		r.Status = kind
	}
	// Any other, owner_assigned and those to come, changes nothing here, and counts all the same.
	return nil
}

// follow keeps the table in its file.
func follow(ctx context.Context, args []string) error {
	if err := parse(flag.NewFlagSet("follow", flag.ExitOnError), args); err != nil {
		return err
	}
	file := filepath.Join(folder, "orders.json")
	orders := map[string]*row{}
	if err := load(file, &orders); err != nil {
		return err
	}
	queue, err := subscriber(config(prefix+".events", "topic", shop+".events", "order.*"))
	if err != nil {
		return err
	}
	defer queue.Close() //nolint:errcheck // it is over
	events, err := queue.Subscribe(ctx, "events")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "following")
	for m := range events {
		if err := take(ctx, orders, m); err != nil {
			return err
		}
		if err := save(file, orders); err != nil {
			return err
		}
		m.Ack()
	}
	return nil
}

// take brings the table up to an event. Taking it again changes nothing.
func take(ctx context.Context, orders map[string]*row, m *message.Message) error {
	stream, source := m.Metadata["cloudEvents_subject"], m.Metadata["cloudEvents_source"]
	sequence, err := strconv.ParseUint(m.Metadata["cloudEvents_sequence"], 10, 64)
	if err != nil {
		return fmt.Errorf("an event of %s: %w", stream, err)
	}
	r := orders[stream]
	if r == nil {
		r = &row{Source: source, Status: "draft", Lines: map[string]line{}}
		orders[stream] = r
	}
	switch {
	case r.Source != source:
		return fmt.Errorf("%s is of %s here, and now comes %s: that is another log, so begin with another file", stream, r.Source, source)
	case sequence <= r.Sequence:
		return nil // a repeat
	case sequence == r.Sequence+1:
		r.Sequence = sequence
		return r.apply(m.Metadata["cloudEvents_type"], m.Payload)
	}
	return r.catchUp(ctx, stream) // something is missing in between
}

// catchUp reads what happened on a stream over HTTP: for what was before our queue, and for what it had no room for.
func (r *row) catchUp(ctx context.Context, stream string) error {
	for {
		var page []struct {
			Version uint64
			Type    string
			Data    json.RawMessage
		}
		if err := get(ctx, fmt.Sprintf("%s/v1/streams/%s/events?after=%d", doorman, stream, r.Sequence), &page); err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		for _, change := range page {
			if err := r.apply(change.Type, change.Data); err != nil {
				return err
			}
			r.Sequence = change.Version
		}
	}
}

func get(ctx context.Context, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("%w: DOORMAN_URL says where Doorman is", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, text)
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	return err
}
