package cli

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ticketed/doorman/commands"
)

// verify reads every document that the file changed and compares it with what the file comes to.
func (s *sender) verify(ctx context.Context, out io.Writer) error {
	began := time.Now()
	reading, ctx := errgroup.WithContext(ctx)
	reading.SetLimit(s.options.parallel)
	var mu sync.Mutex
	var wrong []string
	for stream, want := range s.folds.byStream {
		reading.Go(func() error {
			difference, err := s.compare(ctx, stream, want)
			if difference != "" {
				mu.Lock()
				wrong = append(wrong, difference)
				mu.Unlock()
			}
			return err
		})
	}
	if err := reading.Wait(); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	others := ""
	if n := len(s.folds.others); n > 0 {
		others = fmt.Sprintf("; %d streams of other types were not looked at", n)
	}
	if len(wrong) > 0 {
		for _, difference := range wrong[:min(len(wrong), namedFailures)] {
			fmt.Fprintln(out, difference)
		}
		return fmt.Errorf("%d of %d documents are not what the file comes to%s", len(wrong), len(s.folds.byStream), others)
	}
	_, err := fmt.Fprintf(out, "verified  %d documents: version and state are what the file comes to (%.1f s)%s\n",
		len(s.folds.byStream), time.Since(began).Seconds(), others)
	return err
}

// compare says how a document differs from what the file comes to; it is empty when it does not.
func (s *sender) compare(ctx context.Context, stream commands.Stream, want *folded) (string, error) {
	limited, cancel := context.WithTimeout(ctx, s.options.wait)
	defer cancel()
	got, err := s.client.Stream(limited, stream)
	if err != nil {
		return "", err
	}
	if got.Version != want.version {
		return fmt.Sprintf("%s is at version %d, the file comes to %d", stream, got.Version, want.version), nil
	}
	same, err := want.matches(got.State)
	if err != nil {
		return "", fmt.Errorf("state of %s: %w", stream, err)
	}
	if !same {
		return fmt.Sprintf("%s has the state %s, the file comes to another", stream, got.State), nil
	}
	return "", nil
}
