package load

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

func small(url string) Config {
	return Config{URL: url, Count: 800, Connections: 8, Streams: 40, WaitShare: 0.1, Settle: 10 * time.Second}
}

// Each shape of load, over both wires: what is reported is what the server saw.
func TestCountsAreTrue(t *testing.T) {
	t.Parallel()
	shapes := map[string]func(*Config){
		"many streams":         func(*Config) {},
		"one hot stream":       func(c *Config) { c.Streams = 1; c.Count = 300 },
		"few streams":          func(c *Config) { c.Streams = 3 },
		"arrays":               func(c *Config) { c.Array = 50 },
		"arrays on one stream": func(c *Config) { c.Streams, c.Array = 1, 20 },
		"everything at once":   func(c *Config) { c.OutOfOrder, c.Duplicate, c.Stale = 0.3, 0.1, 0.05 },
		"the same in arrays":   func(c *Config) { c.OutOfOrder, c.Duplicate, c.Stale, c.Array = 0.3, 0.1, 0.05, 7 },
		"at a rate":            func(c *Config) { c.Rate, c.Count = 20_000, 1000 },
		"out of order only":    func(c *Config) { c.OutOfOrder = 0.5 },
		"nobody waits":         func(c *Config) { c.WaitShare = -1 },
	}
	for name, shape := range shapes {
		for _, plain := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", portable"}[plain], func(t *testing.T) {
				t.Parallel()
				server, url := startFake(t, lies{})
				cfg := small(url)
				cfg.plain = plain
				shape(&cfg)
				r, err := Run(t.Context(), cfg)
				require.NoError(t, err)
				require.Empty(t, r.Failures)
				requireSame(t, server, r)
				require.GreaterOrEqual(t, r.Commands, cfg.Count)
				require.LessOrEqual(t, r.Commands, cfg.Count+cfg.Connections)
			})
		}
	}
}

func requireSame(t *testing.T, server *fake, r *Report) {
	t.Helper()
	require.Equal(t, len(server.known), r.Commands)
	require.Equal(t, r.Commands, r.Accepted)
	require.Equal(t, r.Commands, r.CheckedCommands)
	require.Equal(t, len(server.order)-server.stale, r.Landed)
	require.Equal(t, server.posts, r.Posts)
	require.Equal(t, server.repeats, r.Posted-r.Commands)
	require.Equal(t, server.repeats, r.Doubles)
	require.Equal(t, server.stale, r.Stale)
	require.Equal(t, server.stale, r.Rejected[commands.StaleTicket])
	require.Equal(t, len(server.streams), r.CheckedStreams)
	require.Empty(t, r.Refusals)
	require.EqualValues(t, r.Posted, r.PostToAccepted.Count+int64(server.waits))
}

func TestSharesAreKept(t *testing.T) {
	t.Parallel()
	server, url := startFake(t, lies{})
	cfg := small(url)
	cfg.Count, cfg.OutOfOrder, cfg.Duplicate, cfg.Stale, cfg.WaitShare = 6000, 0.3, 0.1, 0.05, 0.2
	r, err := Run(t.Context(), cfg)
	require.NoError(t, err)
	require.Empty(t, r.Failures)
	share := func(n int) float64 { return float64(n) / float64(r.Commands) }
	require.InDelta(t, 0.3, share(r.Early), 0.04)
	require.InDelta(t, 0.1, share(r.Doubles), 0.02)
	require.InDelta(t, 0.05, share(r.Stale), 0.015)
	require.InDelta(t, 0.2, share(server.waits), 0.03)
	// What is held back at the end goes out over any connection and may overtake its successor.
	require.InDelta(t, r.Early, server.parked, float64(cfg.Connections))
}

// What a lying server does is found out, and named.
func TestLiesAreFoundOut(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		lie  lies
		want string
	}{
		"an outcome is lost":                 {lies{lose: 300}, "1 commands that were accepted and have no outcome"},
		"a command stays parked for ever":    {lies{neverSettle: 300}, "accepted and have no outcome"},
		"a command has two effects":          {lies{twice: 300}, "at another version than the one after their predecessor's"},
		"the last command has two effects":   {lies{head: true}, "40 streams with another version"},
		"two outcomes share a position":      {lies{position: 300}, "1 outcomes at a position that another outcome has"},
		"a wrong reason":                     {lies{reason: commands.Refused}, "rejected for another reason than stale_ticket"},
		"a superseded ticket is let in":      {lies{landStale: true}, "commands with a superseded ticket that landed"},
		"an outcome flips":                   {lies{flip: 300}, "whose outcome is another than a waiting client was told"},
		"another command is told of":         {lies{swap: 300}, "1 answers about another command"},
		"an answer leaves out what is asked": {lies{short: 300}, "asked for 256 commands and was told of 255"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, url := startFake(t, c.lie)
			cfg := small(url)
			cfg.Stale, cfg.WaitShare, cfg.Settle = 0.05, 1, 3*time.Second
			if c.lie.neverSettle > 0 {
				cfg.WaitShare = -1
				cfg.Stale = 0
			}
			r, err := Run(t.Context(), cfg)
			if err != nil {
				require.ErrorContains(t, err, c.want)
				return
			}
			require.False(t, r.OK())
			require.Contains(t, r.Failures[0], c.want)
		})
	}
}

func TestRefusalsAreObeyedAndCounted(t *testing.T) {
	t.Parallel()
	server, url := startFake(t, lies{refuse: 100})
	r, err := Run(t.Context(), small(url))
	require.NoError(t, err)
	require.Empty(t, r.Failures)
	require.Equal(t, map[commands.Reason]int{commands.Unavailable: 1}, r.Refusals)
	require.Equal(t, 1, r.SentAgain)
	require.Equal(t, server.posts, r.Posts+1)
	require.Equal(t, 800, r.Landed)
}

func TestOnlyTheRefusedItemsOfAnArrayAreSentAgain(t *testing.T) {
	t.Parallel()
	server, url := startFake(t, lies{mixed: true})
	cfg := small(url)
	cfg.Array = 6
	r, err := Run(t.Context(), cfg)
	require.NoError(t, err)
	require.Empty(t, r.Failures)
	require.Positive(t, r.Refusals[commands.Unavailable])
	require.Zero(t, server.repeats)
}

func TestWhatABrokenConnectionLeftOpenIsSentAgain(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		server, url := startFake(t, lies{hangUp: 100})
		cfg := small(url)
		cfg.plain = plain
		r, err := Run(t.Context(), cfg)
		require.NoError(t, err)
		require.Empty(t, r.Failures)
		require.Equal(t, 1, r.BrokenOff)
		require.Equal(t, 1, server.repeats)
		require.Equal(t, 800, r.Landed)
	}
}

func TestARefusalForGoodEndsTheRun(t *testing.T) {
	t.Parallel()
	_, url := startFake(t, lies{refuseAll: commands.UnknownType})
	_, err := Run(t.Context(), small(url))
	require.ErrorContains(t, err, "unknown_type")
}

func TestAServerThatRefusesForEverEndsTheRun(t *testing.T) {
	t.Parallel()
	_, url := startFake(t, lies{refuseAll: commands.Unavailable})
	cfg := small(url)
	cfg.Settle = 2 * time.Second
	_, err := Run(t.Context(), cfg)
	require.ErrorContains(t, err, "nothing was accepted for 2s while 8 requests are open (refusals so far: unavailable ")
}

func TestChunkedAnswersAreRead(t *testing.T) {
	t.Parallel()
	server, url := startFake(t, lies{chunked: true})
	cfg := small(url)
	cfg.Array, cfg.WaitShare = 20, 0.5
	r, err := Run(t.Context(), cfg)
	require.NoError(t, err)
	require.Empty(t, r.Failures)
	require.Equal(t, len(server.known), r.Landed)
}

func TestARunThatIsCutShortIsChecked(t *testing.T) {
	t.Parallel()
	server, url := startFake(t, lies{})
	ctx, cancel := context.WithCancel(t.Context())
	cfg := small(url)
	cfg.Count, cfg.OutOfOrder = 1_000_000_000, 0.3
	cfg.Progress = func(p Progress) {
		if p.Accepted > 500 {
			cancel()
		}
	}
	r, err := Run(ctx, cfg)
	require.NoError(t, err)
	require.Empty(t, r.Failures)
	require.Equal(t, len(server.known), r.Landed)
}

func TestAServerThatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	_, err := Run(t.Context(), Config{URL: "http://127.0.0.1:1"})
	require.ErrorContains(t, err, "connection 1 of 64")
}

func TestAServerThatGoesEndsTheRun(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		for stage, cfg := range map[string]Config{
			"sending":  {Count: 1_000_000_000, WaitShare: -1},
			"settling": {Count: 800, WaitShare: -1},
		} {
			honest := httptest.NewServer(newFake(lies{}))
			t.Cleanup(honest.Close)
			cfg.URL, cfg.Connections, cfg.Streams, cfg.plain, cfg.gone = honest.URL, 8, 40, plain, 50*time.Millisecond
			var once sync.Once
			cfg.Progress = func(p Progress) {
				if p.Stage == stage && p.Accepted > 0 {
					once.Do(func() {
						_ = honest.Listener.Close()
						honest.CloseClientConnections()
					})
				}
			}
			began := time.Now()
			_, err := Run(t.Context(), cfg)
			require.ErrorContains(t, err, "the server has gone: ")
			require.Equal(t, 1, strings.Count(err.Error(), "the server has gone"), "said once")
			require.ErrorContains(t, err, "connection refused")
			require.Less(t, time.Since(began), 30*time.Second, "and not after all the time there is to settle")
		}
	}
}

func TestEverythingWrongIsToldAtOnce(t *testing.T) {
	t.Parallel()
	err := (&Config{
		URL: "ftp://x", Rate: -1, Array: 257, Payload: 1, OutOfOrder: 0.6, Duplicate: 2, Stale: 1, WaitShare: 2, Streams: -1,
	}).Validate()
	for _, word := range []string{"url", "rate", "array", "payload", "out-of-order", "duplicate", "stale", "wait-share", "streams"} {
		require.ErrorContains(t, err, word)
	}
}
