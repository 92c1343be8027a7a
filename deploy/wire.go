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
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/inproc"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/intake"
	"github.com/ticketed/doorman/notify"
	"github.com/ticketed/doorman/projections/query"
)

// wire connects the parts, in the order in which data walks, and mounts their routes. What it starts is
// stopped in the opposite order.
func (p *Program) wire(ctx context.Context, routes *http.ServeMux) error {
	waiters := notify.NewWaiters(notify.WaitersConfig{Reader: p.store, Log: p.log})
	p.onStop("ending the watch over the log", func(context.Context) error { return waiters.Stop() })
	if err := waiters.Start(ctx); err != nil {
		return err
	}
	b := inproc.New(inproc.Config{})
	p.onStop("closing the bus", func(context.Context) error { return b.Close() })
	if err := p.startWorker(ctx, b, waiters); err != nil {
		return err
	}
	sender, err := bus.NewSender(b, bus.SenderConfig{Lanes: p.store.Identity().Lanes})
	if err != nil {
		return err
	}
	p.onStop("committing what was accepted", sender.Close)
	p.metrics.read("doorman_bus_pending", "Commands handed to the bus and not confirmed yet.", sender.Pending)
	p.metrics.read("doorman_http_connections", "Connections of clients.", p.public.connections.count)
	queries, err := p.queries(waiters)
	if err != nil {
		return err
	}
	gateway, err := p.gateway(sender, waiters, queries)
	if err != nil {
		return err
	}
	queries.Mount(routes)
	routes.Handle(commandsRoute, gateway)
	p.health.checks = append(p.health.checks, check{"store", p.store.Ping})
	// Those who wait are let go first, so that the requests under way come to their end.
	p.onStop("answering the requests under way", func(ctx context.Context) error {
		return errors.Join(waiters.Stop(), p.public.drain(ctx))
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

func (p *Program) startWorker(ctx context.Context, b *inproc.Bus, waiters *notify.Waiters) error {
	all := make([]int, p.store.Identity().Lanes)
	for lane := range all {
		all[lane] = lane
	}
	w, err := worker.New(worker.Config{
		Store: p.store, Types: p.types, Subscriber: b, Lanes: all, Owner: owner(),
		Limits: p.limits(), CacheStreams: p.config.CachedStreams, CacheBytes: p.config.CacheMB << 20,
		QueueBound: inproc.DefaultMaxMessages,
		Observe:    []func(store.Range, *aggregate.Result){waiters.Observe},
		Metrics:    p.metrics, Log: p.log,
	})
	if err != nil {
		return err
	}
	if err := w.Start(ctx); err != nil {
		return err
	}
	p.worker = w
	p.onStop("stopping the worker", func(context.Context) error { return w.Stop() })
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

func (p *Program) gateway(sender *bus.Sender, waiters *notify.Waiters, queries *query.Query) (*intake.Intake, error) {
	return intake.New(intake.Config{
		Allows: func(streamType string, policy commands.Policy, command string) (known, allowed bool) {
			t, known := p.types.Type(streamType)
			return known, known && t.Allows(policy, command)
		},
		Send:    sender.Send,
		SendAll: sender.SendAll,
		Refusal: refusal,
		Register: func(id commands.ID, hash commands.Hash) (intake.Waiter, bool) {
			return waiters.Register(id, hash)
		},
		Mark:       waiters.Mark,
		Conflicted: waiters.Conflicted,
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

func (p *Program) queries(waiters *notify.Waiters) (*query.Query, error) {
	return query.New(query.Config{
		Reader: p.store, Epoch: p.store.Identity().Epoch, Type: p.types.Type, Limits: p.limitsView(), Log: p.log,
		Register: func(id commands.ID) (query.Waiter, bool) {
			return waiters.Register(id, notify.AnyPayload)
		},
		Watch: func(stream commands.Stream) (query.StreamWaiter, bool) {
			return waiters.Watch(stream)
		},
	})
}

// maxWatched is how many streams one connection may watch (DESIGN section 3).
const maxWatched = 256

func (p *Program) limitsView() commands.LimitsView {
	body := commands.DefaultBodyLimits
	return commands.LimitsView{
		MaxArray: body.Array, MaxBody: body.Bytes, MaxDepth: body.Depth, MaxWatched: maxWatched,
		ParkedPerStream: p.config.ParkedPerStream, ParkedPerSession: p.config.ParkedPerSession, Parked: p.config.Parked,
		ParkSeconds: int(aggregate.DefaultParkFor / time.Second),
	}
}
