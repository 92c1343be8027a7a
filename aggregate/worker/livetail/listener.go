package livetail

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// Feed is what a listener needs of a feed.Feed.
type Feed interface {
	ObservePart(covered store.Range, result *aggregate.Result, lacks func() bool)
	Announce(end uint64)
	Doubt()
}

// fresh is how old what a worker says of parked commands may be. What comes later, from one that was frozen or was
// kept from sending, may have been settled by another one meanwhile; so it is not told but looked up.
const fresh = 2 * time.Second

// ListenerConfig is what a listener needs. All but Early and Log are required.
type ListenerConfig struct {
	Post      Post
	Epoch     string // of the log
	Gateway   commands.ID
	Interests *Interests
	Feed      Feed
	// Early is told of what came, at once and in any order, ahead of the feed.
	Early func(*aggregate.Result)
	Log   *slog.Logger
}

// Listener tells workers what a gateway wants, and its feed what they tell it.
type Listener struct {
	config ListenerConfig
	number uint64        // of the message sent last; of the running goroutine
	asked  atomic.Bool   // a worker wants to be told everything
	told   atomic.Uint64 // messages of commits taken
	life   life
}

// NewListener makes a listener.
func NewListener(config ListenerConfig) *Listener {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	return &Listener{config: config}
}

// Start tells the workers what is wanted here, and goes on with it. The context bounds the start alone.
func (l *Listener) Start(context.Context) error {
	l.life.begin(l.run)
	return nil
}

// Stop says goodbye to the workers. It is safe twice.
func (l *Listener) Stop() error {
	l.life.end()
	return nil
}

// Receive takes a message to this process or to the group of gateways. It must not be called by two goroutines
// at once, or the feed would be told out of order.
func (l *Listener) Receive(body []byte) {
	if len(body) < 2 || body[0] != layout {
		return
	}
	switch body[1] {
	case kindHello:
		l.asked.Store(true)
		l.config.Interests.signal()
	case kindCommits:
		epoch, version, commits, err := decodeCommits(body)
		if err != nil {
			l.config.Log.Warn("what a worker tells of its commits cannot be read; the log will be", "err", err)
			return
		}
		if epoch == l.config.Epoch {
			l.told.Add(1)
			l.hand(version, commits)
		}
	}
}

// Told is how many messages about commits have been taken.
func (l *Listener) Told() uint64 { return l.told.Load() }

func (l *Listener) hand(version uint64, commits []commit) {
	lacks := func() bool { return l.config.Interests.Lacks(version) }
	for i := range commits {
		c := &commits[i]
		if c.alone {
			l.config.Feed.Announce(c.covered.Last)
			l.config.Feed.Doubt()
			continue
		}
		if len(c.Park)+len(c.Extend) > 0 && time.Since(c.At) > fresh {
			c.Park, c.Extend = nil, nil
			l.config.Feed.Doubt()
		}
		if l.config.Early != nil {
			l.config.Early(c.Result)
		}
		l.config.Feed.ObservePart(c.covered, c.Result, lacks)
	}
}

func (l *Listener) run(ctx context.Context) {
	l.tell(true)
	tick := time.NewTicker(wholeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.leave()
			return
		case <-l.config.Interests.wake:
			l.tell(l.asked.Swap(false))
		case <-tick.C:
			l.config.Interests.rest()
			l.tell(true)
		}
	}
}

// tell sends what has changed, or everything, to all workers.
func (l *Listener) tell(whole bool) {
	if change, news := l.config.Interests.change(whole); news {
		l.send(&change)
	}
}

func (l *Listener) leave() { l.send(&interest{leaves: true}) }

func (l *Listener) send(news *interest) {
	l.number++
	news.epoch, news.gateway, news.address, news.number = l.config.Epoch, l.config.Gateway, l.config.Post.Address(), l.number
	if err := l.config.Post.Broadcast(Workers, news.append(nil)); err != nil {
		// The workers find that a message is missing when the next one comes, and ask for everything.
		l.config.Log.Debug("cannot tell workers what is wanted here", "err", err)
	}
}
