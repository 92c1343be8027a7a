package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/feed"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/inproc"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/intake"
	"github.com/ticketed/doorman/notify"
	"github.com/ticketed/doorman/notify/hub"
	"github.com/ticketed/doorman/projections/query"
)

// wire connects the parts, in the order in which data walks, and mounts their routes. What it starts is
// stopped in the opposite order.
func (p *Program) wire(ctx context.Context, routes *http.ServeMux) error {
	if p.config.RabbitMQURL != "" {
		return p.wireDistributed(ctx, routes)
	}
	if err := p.watchLanes(ctx); err != nil {
		return err
	}
	waiters := notify.NewWaiters(notify.WaitersConfig{Reader: p.store, Log: p.log})
	p.onStop("ending the watch over the log", func(context.Context) error { return waiters.Stop() })
	if err := waiters.Start(ctx); err != nil {
		return err
	}
	follow, err := p.startFeed(ctx)
	if err != nil {
		return err
	}
	listing, err := p.startCatalog(ctx, follow)
	if err != nil {
		return err
	}
	b := inproc.New(inproc.Config{})
	p.onStop("closing the bus", func(context.Context) error { return b.Close() })
	if err := p.startWorker(ctx, b, waiters.Observe, follow.Observe); err != nil {
		return err
	}
	sender, err := bus.NewSender(b, bus.SenderConfig{Lanes: p.store.Identity().Lanes})
	if err != nil {
		return err
	}
	p.onStop("committing what was accepted", sender.Close)
	p.health.checks = p.checks()
	return p.serveClients(ctx, clients{sender, waiters, follow, nil, listing, p.workerReady}, routes)
}

// clients are what those who send commands and ask for what became of them are served with.
type clients struct {
	sender  commandSender
	waiters *notify.Waiters
	follow  *feed.Feed
	watched hub.Interest // nil: the feed hands on everything
	listing query.Catalog
	taking  func() error // why no commands are taken, as far as that is known; nil when they are
}

// serveClients mounts the routes of a gateway.
func (p *Program) serveClients(ctx context.Context, c clients, routes *http.ServeMux) error {
	p.metrics.read("doorman_bus_pending", "Commands handed to the bus and not confirmed yet.", c.sender.Pending)
	p.metrics.read("doorman_http_connections", "Connections of clients.", p.public.connections.count)
	queries, err := p.queries(c.waiters, c.listing)
	if err != nil {
		return err
	}
	push, err := p.startPush(ctx, c.follow, c.watched, queries, routes)
	if err != nil {
		return err
	}
	gateway, err := p.gateway(c, queries)
	if err != nil {
		return err
	}
	queries.Mount(routes)
	routes.Handle(commandsRoute, gateway)
	if err := p.serveOperators(c, queries); err != nil {
		return err
	}
	// Those who wait are let go first, so that the requests under way come to their end.
	p.onStop("answering the requests under way", func(ctx context.Context) error {
		return errors.Join(c.waiters.Stop(), push.Stop(), p.public.drain(ctx))
	})
	return nil
}

func (p *Program) limits() aggregate.Limits {
	limits := aggregate.DefaultLimits
	limits.ParkedPerStream = p.config.ParkedPerStream
	limits.ParkedPerSession = p.config.ParkedPerSession
	limits.Parked = p.config.Parked
	return limits
}

func (p *Program) startWorker(ctx context.Context, b *inproc.Bus, observe ...func(store.Range, *aggregate.Result)) error {
	all := make([]int, p.store.Identity().Lanes)
	for lane := range all {
		all[lane] = lane
	}
	w, err := worker.New(worker.Config{
		Store: p.store, Types: p.types, Subscriber: b, Lanes: all, Owner: owner(),
		Limits: p.limits(), CacheStreams: p.config.CachedStreams, CacheBytes: p.config.CacheMB << 20,
		QueueBound: inproc.DefaultMaxMessages,
		Observe:    observe,
		Metrics:    p.metrics, Log: p.log,
	})
	if err != nil {
		return err
	}
	if err := w.Start(ctx); err != nil {
		return err
	}
	p.worker = w
	p.onStop("stopping the worker", w.Shutdown)
	return nil
}

// owner names this process to people who look at who holds a lane.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return fmt.Sprintf("%s pid %d", host, os.Getpid())
}

// allows tells whether a type is served, and whether a command of it may be sent with a policy.
func (p *Program) allows(streamType string, policy commands.Policy, command string) (known, allowed bool) {
	t, known := p.types.Type(streamType)
	return known, known && t.Allows(policy, command)
}

func (p *Program) gateway(c clients, queries *query.Query) (*intake.Intake, error) {
	return intake.New(intake.Config{
		Allows:  p.allows,
		Send:    c.sender.Send,
		SendAll: c.sender.SendAll, Withdraw: c.sender.Withdraw, Ready: c.taking,
		Refusal: refusal,
		Register: func(id commands.ID, hash commands.Hash) (intake.Waiter, bool) {
			return c.waiters.Register(id, hash)
		},
		Mark:       c.waiters.Mark,
		Conflicted: c.waiters.Conflicted,
		Tell:       queries.Tell,
		Log:        p.log,
	})
}

// refusal says what an error of the bus means to who sent the command.
func refusal(err error) commands.Reason {
	switch {
	case errors.Is(err, bus.ErrFull):
		return commands.RateLimited
	case errors.Is(err, bus.ErrUnavailable), errors.Is(err, bus.ErrClosed):
		return commands.Unavailable
	}
	return commands.FateUnknown
}

func (p *Program) queries(waiters *notify.Waiters, listing query.Catalog) (*query.Query, error) {
	return query.New(query.Config{
		Reader: p.store, Epoch: p.store.Identity().Epoch, Type: p.types.Type, Limits: p.limitsView(), Log: p.log,
		Catalog: listing,
		Register: func(id commands.ID) (query.Waiter, bool) {
			return waiters.Register(id, notify.AnyPayload)
		},
		Watch: func(stream commands.Stream) (query.StreamWaiter, bool) {
			return waiters.Watch(stream)
		},
	})
}

func (p *Program) limitsView() commands.LimitsView {
	body := commands.DefaultBodyLimits
	return commands.LimitsView{
		MaxArray: body.Array, MaxBody: body.Bytes, MaxDepth: body.Depth, MaxWatched: hub.MaxWatched,
		ParkedPerStream: p.config.ParkedPerStream, ParkedPerSession: p.config.ParkedPerSession, Parked: p.config.Parked,
		ParkSeconds: int(aggregate.DefaultParkFor / time.Second),
	}
}
