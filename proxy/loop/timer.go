//go:build linux

package loop

import (
	"container/heap"
	"time"
)

// Timer calls a function on its loop once. The zero value is not armed.
type Timer struct {
	at    int64
	f     func()
	index int // in the heap, from 1; 0 when not armed
	loop  *Loop
}

// After arms a timer that calls f on the loop after d, to the millisecond.
func (l *Loop) After(d time.Duration, f func()) *Timer {
	t := &Timer{at: l.now + int64(d), f: f, loop: l}
	if real := Now(); real+int64(d) > t.at {
		t.at = real + int64(d)
	}
	heap.Push(&l.timers, t)
	return t
}

// Stop disarms the timer; a timer that fired or was stopped is left alone.
func (t *Timer) Stop() {
	if t != nil && t.index > 0 {
		heap.Remove(&t.loop.timers, t.index-1)
	}
}

type timerHeap []*Timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}
func (h *timerHeap) Push(x any) {
	t := x.(*Timer)
	*h = append(*h, t)
	t.index = len(*h)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = 0
	return t
}

func (h timerHeap) next() (int64, bool) {
	if len(h) == 0 {
		return 0, false
	}
	return h[0].at, true
}

func (h *timerHeap) run(now int64) {
	for len(*h) > 0 && (*h)[0].at <= now {
		heap.Pop(h).(*Timer).fire()
	}
}

func (t *Timer) fire() { t.f() }
