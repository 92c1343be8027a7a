package ingress

import (
	"slices"
	"time"
)

// The pauses before what could not be sent is tried again.
const (
	minPause = 20 * time.Millisecond
	maxPause = 2 * time.Second
)

// sendAgain sends what is held, with growing pauses while nothing is taken.
func (in *Ingress) sendAgain() {
	pause := minPause
	for in.awaitHeld() {
		if !in.rest(pause) {
			return
		}
		if err := in.config.Ready(); err != nil {
			if pause == minPause {
				in.config.Log.Warn("messages of other services wait: commands cannot be taken at the moment", "err", err)
			}
			pause = min(2*pause, maxPause)
			in.forgetLost()
			continue
		}
		if pause = min(2*pause, maxPause); in.progress.Swap(false) {
			pause = minPause
		}
		again := in.takeHeld()
		var send batch
		for _, p := range again {
			send.add(p)
		}
		in.send(&send)
		in.change(func() { in.underWay -= len(again) })
	}
}

// awaitHeld waits until something is held; false when that is over.
func (in *Ingress) awaitHeld() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.held) == 0 && !in.stopping {
		in.moved.Wait()
	}
	return !in.stopping
}

// takeHeld gives what is held and has not been lost meanwhile. It counts as under way from now on, so that who stops
// meanwhile waits for it.
func (in *Ingress) takeHeld() []*parcel {
	in.forgetLost()
	in.mu.Lock()
	defer in.mu.Unlock()
	again := in.held
	in.held = nil
	in.underWay += len(again)
	return again
}

// forgetLost lets go of what comes again.
func (in *Ingress) forgetLost() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.held = slices.DeleteFunc(in.held, func(p *parcel) bool { return p.delivery.Lost() })
}

// rest passes time; false when the ingress ends meanwhile.
func (in *Ingress) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-in.ctx.Done():
		return false
	}
}
