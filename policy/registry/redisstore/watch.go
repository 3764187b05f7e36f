package redisstore

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

// Watch calls fn with what others commit: a round trip after it is announced, or at the next
// poll. It also sends the heartbeats.
func (s *Store) Watch(ctx context.Context, fn func(*registry.Snapshot)) {
	news := make(chan struct{}, 1)
	var background sync.WaitGroup
	background.Go(func() { s.listen(ctx, news) })
	background.Go(func() { s.sendBeats(ctx) })
	if s.cache != nil {
		background.Go(func() { s.cache.writeOffers(ctx) })
	}
	s.follow(ctx, news, fn)
	background.Wait()
}

func (s *Store) follow(ctx context.Context, news <-chan struct{}, fn func(*registry.Snapshot)) {
	poll := time.NewTicker(s.poll)
	defer poll.Stop()
	var last *registry.Snapshot // what fn has seen; nil: call it at the next success
	var complaint string
	for {
		snapshot, err := s.pull(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			last = nil
			var broken *registry.StoreError
			if errors.As(err, &broken) && err.Error() != complaint {
				complaint = err.Error()
				s.log.Error("registry: the store's state is refused; calls are served as before", "error", err)
			}
		case snapshot != last:
			last, complaint = snapshot, ""
			fn(snapshot)
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-poll.C:
		}
	}
}

// How long a subscription may be silent before it is probed, and how long after a failure the
// next one is tried: polling goes on meanwhile.
const (
	quiet       = 5 * time.Second
	resubscribe = 200 * time.Millisecond
)

// listen signals news at each announcement and after each (re)subscription.
func (s *Store) listen(ctx context.Context, news chan<- struct{}) {
	for ctx.Err() == nil {
		s.subscription(ctx, news)
		select {
		case <-ctx.Done():
		case <-time.After(resubscribe):
		}
	}
}

// subscription lasts until its connection fails.
func (s *Store) subscription(ctx context.Context, news chan<- struct{}) {
	sub := s.conn.current().Subscribe(ctx, s.channel)
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer func() {
		stop()
		_ = sub.Close()
	}()
	probed := false
	for {
		message, err := sub.ReceiveTimeout(ctx, quiet)
		var timeout net.Error
		switch {
		case err == nil:
			probed = false
		case errors.As(err, &timeout) && timeout.Timeout() && !probed:
			probed = true
			if sub.Ping(ctx) != nil {
				return
			}
			continue
		default:
			return
		}
		if _, isPong := message.(*redis.Pong); isPong {
			continue
		}
		select {
		case news <- struct{}{}:
		default:
		}
	}
}
