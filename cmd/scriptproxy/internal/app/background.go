package app

import (
	"context"
	"sync"
)

// background runs goroutines that end together. The zero value is ready.
type background struct {
	once   sync.Once
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (b *background) start() {
	b.once.Do(func() { b.ctx, b.cancel = context.WithCancel(context.Background()) })
}

// Go runs f until it returns, which it does soon after its context ends.
func (b *background) Go(f func(context.Context)) {
	b.start()
	b.wg.Go(func() { f(b.ctx) })
}

// Stop ends the context and waits for all.
func (b *background) Stop() {
	b.start()
	b.cancel()
	b.wg.Wait()
}
