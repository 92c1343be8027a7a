package hub_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/notify/hub"
)

// counted keeps how many watches of a stream have not ended, as whoever hears of interests does.
type counted struct {
	mu      sync.Mutex
	watches int
	fewest  int
	entered chan struct{} // closed when Watch is called
	proceed chan struct{} // Watch waits for it
}

func (c *counted) Watch([]commands.Stream, []string) {
	close(c.entered)
	<-c.proceed
	c.count(1)
}

func (c *counted) Unwatch([]commands.Stream, []string) { c.count(-1) }

func (c *counted) count(more int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watches += more
	c.fewest = min(c.fewest, c.watches)
}

// Promise 8: a connection that ends while it opens takes back only what it has asked for. Taken back first, it
// would for a moment be missing from the count of those who watch the same stream.
func TestNothingIsUnwatchedBeforeItWasWatched(t *testing.T) {
	t.Parallel()
	interest := &counted{entered: make(chan struct{}), proceed: make(chan struct{})}
	onStage(t, func(c *hub.Config) {
		interest.entered, interest.proceed = make(chan struct{}), make(chan struct{}) // of the bubble
		c.Interest = interest
	}, func(s *stage) {
		opened := make(chan error, 1)
		go func() {
			_, err := s.hub.Open(context.Background(), &hub.Request{Streams: watches(stream(1))}, &pad{})
			opened <- err
		}()
		<-interest.entered
		stopped := make(chan error, 1)
		go func() { stopped <- s.hub.Stop() }()
		synctest.Wait()
		close(interest.proceed)
		require.Error(t, <-opened)
		require.NoError(t, <-stopped)
		require.Zero(t, interest.fewest)
		require.Zero(t, interest.watches)
	})
}
