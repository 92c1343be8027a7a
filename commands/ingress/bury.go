package ingress

import "slices"

// What is buried at once, at most: refusals, and bytes of their messages. A message with more goes alone.
const (
	buryRefusals = 1024
	buryBytes    = 8 << 20
)

// bury sees to what is refused: it is kept, its senders are told, and it is settled, in this order, so that nothing is
// lost wherever that ends.
func (in *Ingress) bury() {
	for {
		some := in.takeRefused()
		if some == nil {
			return
		}
		refused := in.refusalsOf(some)
		if in.keep(refused) {
			in.tell(refused)
			for i := range refused {
				in.config.Metrics.Refused(refused[i].Problem.Code)
			}
			for _, p := range some {
				in.settle(p)
			}
		}
		in.change(func() { in.burying = false })
	}
}

// takeRefused waits for something to be buried; nothing when that is over.
func (in *Ingress) takeRefused() []*parcel {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.refused) == 0 && in.ctx.Err() == nil {
		in.moved.Wait()
	}
	if in.ctx.Err() != nil {
		return nil
	}
	in.burying = true
	n, refusals, bytes := 0, 0, 0
	for _, p := range in.refused {
		refusals, bytes = refusals+p.refusedCount(), bytes+len(p.message.Body)
		if n > 0 && (refusals > buryRefusals || bytes > buryBytes) {
			break
		}
		n++
	}
	some := slices.Clone(in.refused[:n])
	in.refused = slices.Delete(in.refused, 0, n)
	return some
}

// refusalsOf lists what was refused of messages that do not come again anyway.
func (in *Ingress) refusalsOf(some []*parcel) []Refused {
	var refused []Refused
	for _, p := range some {
		if !p.delivery.Lost() {
			refused = p.refusals(refused)
		}
	}
	return refused
}

// keep has everything kept, however long that takes; false when the ingress ends first.
func (in *Ingress) keep(refused []Refused) bool {
	if len(refused) == 0 {
		return true
	}
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		err := in.config.Bury(in.ctx, refused)
		if err == nil {
			return true
		}
		if in.ctx.Err() == nil && pause == minPause {
			in.config.Log.Warn("messages that were refused cannot be kept; trying again", "refused", len(refused), "err", err)
		}
		if !in.rest(pause) {
			return false
		}
	}
}

// tell tells those who wanted to be. What cannot be told is kept all the same.
func (in *Ingress) tell(refused []Refused) {
	var replies []Reply
	for i := range refused {
		if reply, wanted := in.reply(&refused[i]); wanted {
			replies = append(replies, reply)
		}
	}
	if len(replies) == 0 {
		return
	}
	if err := in.config.Reply(in.ctx, replies); err != nil && in.ctx.Err() == nil {
		in.config.Log.Warn("senders could not be told that messages were refused", "replies", len(replies), "err", err)
	}
}
