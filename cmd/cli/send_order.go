package cli

import (
	"container/heap"
	"math/rand/v2"
)

// disorder passes lines on in another order: each up to window places from its own, and some of them
// twice. The same seed gives the same order.
type disorder struct {
	window  int     // 0: in order
	repeats float64 // the share of lines that come again
	random  *rand.Rand

	queue placed
	next  int
	pass  func(*line) error
}

func newDisorder(window int, repeats float64, seed uint64, pass func(*line) error) *disorder {
	return &disorder{window: window, repeats: repeats, random: rand.New(rand.NewPCG(seed, seed)), pass: pass}
}

// repeatWithin is how many places after the first a line comes again when the order is kept otherwise.
const repeatWithin = 100

// take accepts the next line of the file and passes on those whose place has come.
func (d *disorder) take(l *line) error {
	place := d.next
	d.next++
	at := d.put(l, float64(place), d.window)
	if d.repeats > 0 && d.random.Float64() < d.repeats {
		again := *l
		again.repeat = true
		d.put(&again, at+1, max(d.window, repeatWithin))
	}
	for len(d.queue) > 0 && d.queue[0].place <= float64(place) {
		if err := d.pass(d.queue.pop()); err != nil {
			return err
		}
	}
	return nil
}

// flush passes on what is left.
func (d *disorder) flush() error {
	for len(d.queue) > 0 {
		if err := d.pass(d.queue.pop()); err != nil {
			return err
		}
	}
	return nil
}

func (d *disorder) put(l *line, place float64, window int) float64 {
	if window > 0 {
		place += d.random.Float64() * float64(window)
	}
	heap.Push(&d.queue, placement{place, d.next, l})
	return place
}

// placement is a line and the place it is to come at; order of arrival settles ties.
type placement struct {
	place float64
	order int
	line  *line
}

type placed []placement

var _ heap.Interface = (*placed)(nil)

// Len is heap.Interface's.
func (p *placed) Len() int { return len(*p) }

// Swap is heap.Interface's.
func (p *placed) Swap(i, j int) { (*p)[i], (*p)[j] = (*p)[j], (*p)[i] }

// Less is heap.Interface's.
func (p *placed) Less(i, j int) bool {
	a, b := &(*p)[i], &(*p)[j]
	return a.place < b.place || a.place == b.place && a.order < b.order
}

// Push is heap.Interface's.
func (p *placed) Push(x any) { *p = append(*p, x.(placement)) }

// Pop is heap.Interface's.
func (p *placed) Pop() any {
	old := *p
	last := old[len(old)-1]
	old[len(old)-1] = placement{}
	*p = old[:len(old)-1]
	return last
}

func (p *placed) pop() *line { return heap.Pop(p).(placement).line }
