package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
)

// Without RabbitMQ a process works all lanes, and takes them again whenever somebody else has: two of them on one schema
// would do so for ever, as one of them and a deployment over RabbitMQ would. Nobody would lose a command by it, and nobody
// would know why everything is slow. So such a process holds the store alone. Others hold it together when they use the same
// queues: a worker on others would have lanes whose commands never reach it.

const (
	// holdEvery is how often a process looks whether it holds the store still.
	holdEvery = time.Second
	// holdLost is for how long others must be seen to have the store until a process that had it gives it up: one that is
	// turned away may be seen for a moment.
	holdLost = 3 * time.Second
	// holdFree is how long nobody must be seen to have a store that several had together. Where only their sessions ended,
	// as when the database is started again, they have it again by then. One that a single process had is taken at once, so
	// that a restart is quick.
	holdFree = 5 * time.Second
)

// takeHold waits for a process that is one too many to end, as after a restart, and for a store that does not answer.
func (u *laneUse) takeHold(ctx context.Context) error {
	queues := ""
	if u.self.Bus == busRabbitMQ {
		queues = u.config.rabbitmq().Place()
	}
	hold, err := u.store.NewHold(u.self.Name, queues)
	if err != nil {
		return err
	}
	u.hold = hold
	u.onStop("letting the store go", func(ctx context.Context) error {
		u.beating.end()
		ctx, cancel := context.WithTimeout(ctx, probeTime)
		defer cancel()
		hold.Release(ctx)
		return nil
	})
	patient, cancel := context.WithTimeout(ctx, u.config.StoreWait)
	defer cancel()
	for told := false; ; {
		err := u.tryHold(ctx)
		held, isHeld := errors.AsType[*postgres.HeldError](err)
		switch {
		case err == nil:
			u.beating.runs.Go(u.keepHold) // also while the rest starts, which may wait for RabbitMQ
			return nil
		case !isHeld && !errors.Is(err, store.ErrUnavailable):
			return err
		case isHeld && !told:
			told = true
			u.log.Warn("another process serves this store; waiting for it to end", "process", held.By,
				"store", u.config.storeName(), "store_wait", durationText(u.config.StoreWait))
		}
		if isHeld && !held.Alone {
			if err = u.awaitFree(patient, held); err == nil {
				continue
			}
			held, isHeld = errors.AsType[*postgres.HeldError](err)
		}
		if pause(patient, lanesEveryChanging); patient.Err() == nil {
			continue
		}
		if isHeld {
			return u.tooMany(held)
		}
		return err
	}
}

// awaitFree waits until those are gone who hold the store together, as when they are given another prefix. Its error says
// what was so when the time was over.
func (u *laneUse) awaitFree(ctx context.Context, held *postgres.HeldError) error {
	var last error = held
	for since := time.Now(); ctx.Err() == nil; pause(ctx, holdEvery/4) {
		asking, cancel := context.WithTimeout(ctx, probeTime)
		seen := u.hold.Look(asking)
		cancel()
		switch {
		case ctx.Err() != nil: // it may have been cut off
		case seen != nil:
			last, since = seen, time.Now()
			if others, isHeld := errors.AsType[*postgres.HeldError](seen); isHeld {
				held = others
			}
		case time.Since(since) >= holdFree:
			return nil
		default:
			last = fmt.Errorf("other processes served this store (%s) over other queues until a moment ago: %s. Start this one "+
				"again, or give it a longer store_wait", u.config.storeName(), held.By)
		}
	}
	return last
}

func (u *laneUse) tryHold(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	return u.hold.Keep(ctx)
}

// keepHold goes on until the end of the program, or until another process was faster after the connection had been lost.
func (u *laneUse) keepHold() {
	ticker := time.NewTicker(holdEvery)
	defer ticker.Stop()
	lost := false
	var taken time.Time // since when others have it
	for {
		select {
		case <-u.beating.ctx.Done():
			return
		case <-ticker.C:
		}
		err := u.tryHold(u.beating.ctx)
		if u.beating.ctx.Err() != nil {
			return
		}
		held, isHeld := errors.AsType[*postgres.HeldError](err)
		switch {
		case isHeld && taken.IsZero():
			taken = time.Now()
			u.log.Warn("this process lost its session of the database, and another one serves the store; asking again", "process", held.By)
		case isHeld && time.Since(taken) >= holdLost:
			u.fail(fmt.Errorf("while this process had no session of the database: %w", u.tooMany(held)))
			return
		case isHeld:
		case err != nil && !lost:
			u.log.Warn("it is not known whether other processes serve this store; asking again", "err", err)
		}
		if lost = err != nil && !isHeld; !isHeld {
			taken = time.Time{}
		}
	}
}

// tooMany says why this process cannot serve the store, and what to do.
func (u *laneUse) tooMany(held *postgres.HeldError) error {
	if u.self.Bus == busInProcess {
		return fmt.Errorf("another process serves this store (%s): %s. Without rabbitmq_url only one can: stop the other one, "+
			"or give both the rabbitmq_url of one broker", u.config.storeName(), held.By)
	}
	if held.Alone {
		return fmt.Errorf("another process serves this store (%s) without rabbitmq_url, which only one can: %s. Stop it, "+
			"or give it the rabbitmq_url of this one", u.config.storeName(), held.By)
	}
	return fmt.Errorf("other processes serve this store (%s) over other queues: %s. Give this one their rabbitmq_prefix and the "+
		"virtual host of their rabbitmq_url; its own are %s", u.config.storeName(), held.By, u.config.rabbitmq().Place())
}
