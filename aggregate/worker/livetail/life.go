package livetail

import (
	"context"
	"sync"
)

// life is that of a goroutine, which is begun once at most.
type life struct {
	mu    sync.Mutex
	over  context.CancelFunc
	ended chan struct{} // nil before the beginning
}

func (l *life) begin(run func(context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil {
		return
	}
	var ctx context.Context
	ctx, l.over = context.WithCancel(context.Background())
	l.ended = make(chan struct{})
	go func() {
		defer close(l.ended)
		run(ctx)
	}()
}

// end returns once the goroutine has ended.
func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil {
		l.over()
		<-l.ended
	}
}
