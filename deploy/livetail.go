package deploy

import (
	"bytes"
	"context"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/feed"
	"github.com/ticketed/doorman/aggregate/worker/livetail"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/notify"
	"github.com/ticketed/doorman/notify/hub"
)

// liveTail is this process's part in telling gateways at once what workers in other processes commit. It is a
// matter of speed alone: whatever it does not tell is read from the log.
type liveTail struct {
	*Program
	post      post
	id        commands.ID // of this process, as one that is told
	interests *livetail.Interests
	listener  *livetail.Listener // of a gateway or projector
}

// post carries messages over the broker's tail.
type post struct{ *rabbitmq.Tail }

var _ livetail.Post = post{}

func (p post) Send(address string, body []byte) error    { return p.Publish(address, bytes.Clone(body)) }
func (p post) Broadcast(group string, body []byte) error { return p.Send(group, body) }

func (p *Program) newLiveTail(config rabbitmq.Config) (*liveTail, error) {
	tail, err := rabbitmq.NewTail(config)
	if err != nil {
		return nil, err
	}
	p.onStop("closing the live tail", func(context.Context) error { return tail.Close() })
	return &liveTail{Program: p, post: post{tail}, id: commands.NewID(), interests: livetail.NewInterests()}, nil
}

// listen has the feed, and those who wait, told what other processes commit.
func (l *liveTail) listen(ctx context.Context, f *feed.Feed, waiters *notify.Waiters) error {
	config := livetail.ListenerConfig{
		Post: l.post, Epoch: l.store.Identity().Epoch, Gateway: l.id, Interests: l.interests, Feed: f, Log: l.log,
	}
	if waiters != nil {
		config.Early = waiters.Tell
		f.Subscribe(func(c *feed.Commit) { waiters.Observe(c.Covered, &aggregate.Result{Outcomes: c.Outcomes}) })
	}
	l.listener = livetail.NewListener(config)
	subscribed, end := context.WithCancel(context.Background())
	l.onStop("ending the live tail", func(context.Context) error {
		end()
		return l.listener.Stop()
	})
	if err := l.post.Subscribe(subscribed, []string{livetail.Gateways, l.post.Address()}, l.listener.Receive); err != nil {
		return err
	}
	l.metrics.read("doorman_livetail_received", "Messages of other processes about their commits that were taken here.",
		func() int { return int(l.listener.Told()) }) //nolint:gosec // far below
	return l.listener.Start(ctx)
}

// announcer tells gateways in other processes of commits here.
func (l *liveTail) announcer(ctx context.Context) (func(store.Range, *aggregate.Result), error) {
	a := livetail.NewAnnouncer(livetail.AnnouncerConfig{Post: l.post, Epoch: l.store.Identity().Epoch, Except: l.id, Log: l.log})
	subscribed, end := context.WithCancel(context.Background())
	l.onStop("announcing what was committed", func(context.Context) error {
		end()
		return a.Stop()
	})
	if err := l.post.Subscribe(subscribed, []string{livetail.Workers}, a.Receive); err != nil {
		return nil, err
	}
	return a.Observe, a.Start(ctx)
}

// watchedHere is what the hub tells of who watches here.
type watchedHere struct {
	interests *livetail.Interests
	feed      *feed.Feed
}

var _ hub.Interest = watchedHere{}

// Watch is hub.Interest's.
func (w watchedHere) Watch(streams []commands.Stream, sessions []string) {
	for _, s := range streams {
		w.interests.WatchStream(s)
	}
	for _, s := range sessions {
		w.interests.WatchSession(s)
	}
	w.feed.Settle()
}

// Unwatch is hub.Interest's.
func (w watchedHere) Unwatch(streams []commands.Stream, sessions []string) {
	for _, s := range streams {
		w.interests.UnwatchStream(s)
	}
	for _, s := range sessions {
		w.interests.UnwatchSession(s)
	}
}
