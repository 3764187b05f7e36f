package watchdog

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// waiting is a Waiter that notes when it was woken.
type waiting struct{ woken atomic.Int32 }

func (w *waiting) Wake() { w.woken.Add(1) }

func enter(t *testing.T, g *Gate, w Waiter, want Entry) {
	t.Helper()
	enterAs(t, g, w, RankNormal, want)
}

func enterAs(t *testing.T, g *Gate, w Waiter, rank Rank, want Entry) {
	t.Helper()
	if got := g.Enter(w, rank); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}

func TestGateLetsSoManyInAndHasSoManyWait(t *testing.T) {
	g := NewGate(2, 2)
	w := make([]waiting, 5)
	enter(t, g, &w[0], Entered)
	enter(t, g, &w[1], Entered)
	enter(t, g, &w[2], Queued)
	enter(t, g, &w[3], Queued)
	enter(t, g, &w[4], Full)
	enter(t, g, &w[2], Queued) // asks again, and keeps its place
	if inside, queued, most, queue := g.Load(); inside != 2 || queued != 2 || most != 2 || queue != 2 {
		t.Errorf("%d inside, %d wait, of %d and %d", inside, queued, most, queue)
	}
}

func TestWhoWaitsAtAGateIsLetInInOrder(t *testing.T) {
	g := NewGate(1, 3)
	w := make([]waiting, 5)
	enter(t, g, &w[0], Entered)
	for i := 1; i < 4; i++ {
		enter(t, g, &w[i], Queued)
	}
	for i := 1; i < 4; i++ {
		g.Exit()
		if w[i].woken.Load() != 1 {
			t.Fatalf("waiter %d was not woken", i)
		}
		if g.Enter(&w[4], RankNormal) == Entered {
			t.Fatal("one who came later overtook those who wait")
		}
		if i < 3 {
			enter(t, g, &w[i+1], Queued) // nor one behind
		}
		enter(t, g, &w[i], Entered)
		g.Leave(&w[4])
	}
	g.Exit()
	if inside, queued, _, _ := g.Load(); inside != 0 || queued != 0 {
		t.Errorf("%d inside, %d wait at the end", inside, queued)
	}
}

func TestWaiterThatLeavesAGateHandsItsTurnOn(t *testing.T) {
	g := NewGate(1, 3)
	w := make([]waiting, 3)
	enter(t, g, &w[0], Entered)
	enter(t, g, &w[1], Queued)
	enter(t, g, &w[2], Queued)
	g.Exit()
	g.Leave(&w[1]) // woken, and gone instead
	if w[2].woken.Load() == 0 {
		t.Error("the next one was not woken")
	}
	enter(t, g, &w[2], Entered)
}

func TestGateThatIsWidenedWakesWhoWaits(t *testing.T) {
	g := NewGate(1, 8)
	w := make([]waiting, 4)
	enter(t, g, &w[0], Entered)
	for i := 1; i < 4; i++ {
		enter(t, g, &w[i], Queued)
	}
	g.Set(0, 8)
	for i := 1; i < 4; i++ {
		if w[i].woken.Load() == 0 {
			t.Fatalf("waiter %d was not woken", i)
		}
		enter(t, g, &w[i], Entered)
	}
}

// patient tries to enter whenever it is woken.
type patient struct{ wake chan struct{} }

func (p *patient) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func TestNobodyIsForgottenAtAGateThatManyUse(t *testing.T) {
	const most = 3
	g := NewGate(most, 1000)
	var inside, top atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 40 {
				p := &patient{wake: make(chan struct{}, 1)}
				for g.Enter(p, RankNormal) != Entered {
					select {
					case <-p.wake:
					case <-time.After(20 * time.Second):
						t.Error("never woken")
						return
					}
				}
				n := inside.Add(1)
				for old := top.Load(); n > old && !top.CompareAndSwap(old, n); old = top.Load() {
				}
				inside.Add(-1)
				g.Exit()
			}
		})
	}
	wg.Wait()
	if top.Load() > most {
		t.Errorf("%d were inside at a time, of %d", top.Load(), most)
	}
	if n, queued, _, _ := g.Load(); n != 0 || queued != 0 {
		t.Errorf("%d inside, %d wait at the end", n, queued)
	}
}

func TestOrderHoldsAcrossGoroutines(t *testing.T) {
	g := NewGate(1, 100)
	first := &waiting{}
	enter(t, g, first, Entered)
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	for i := range 20 {
		p := &patient{wake: make(chan struct{}, 1)}
		enter(t, g, p, Queued)
		wg.Go(func() {
			<-p.wake
			if g.Enter(p, RankNormal) != Entered {
				t.Error("woken out of turn")
			}
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
			g.Exit()
		})
	}
	g.Exit()
	wg.Wait()
	if !slices.IsSorted(order) || len(order) != 20 {
		t.Errorf("let in in the order %v", order)
	}
}

func TestHigherRankIsLetInFirst(t *testing.T) {
	g := NewGate(1, 8)
	var inside waiting
	enter(t, g, &inside, Entered)
	ranks := []Rank{RankLow, RankNormal, RankHigh, RankLow, RankHigh, RankNormal}
	w := make([]waiting, len(ranks))
	for i, rank := range ranks {
		enterAs(t, g, &w[i], rank, Queued)
	}
	for _, next := range []int{2, 4, 1, 5, 0, 3} {
		g.Exit()
		for i := range w {
			if woken := w[i].woken.Load() > 0; woken != (i == next) {
				t.Errorf("waiter %d woken: %v, when it is the turn of %d", i, woken, next)
			}
		}
		enterAs(t, g, &w[next], ranks[next], Entered)
		w[next].woken.Store(0)
	}
}

func TestHigherRankGoesAheadOfOneThatWasWoken(t *testing.T) {
	g := NewGate(1, 8)
	w := make([]waiting, 3)
	enter(t, g, &w[0], Entered)
	enterAs(t, g, &w[1], RankLow, Queued)
	g.Exit()
	enterAs(t, g, &w[2], RankHigh, Entered)
	enterAs(t, g, &w[1], RankLow, Queued)
	g.Exit()
	if w[1].woken.Load() != 2 {
		t.Error("the one that was overtaken was not woken again")
	}
	enterAs(t, g, &w[1], RankLow, Entered)
}

func TestHigherRankTakesThePlaceOfTheLastInAFullQueue(t *testing.T) {
	g := NewGate(1, 2)
	w := make([]waiting, 6)
	enter(t, g, &w[0], Entered)
	enterAs(t, g, &w[1], RankLow, Queued)
	enterAs(t, g, &w[2], RankLow, Queued)
	enterAs(t, g, &w[3], RankLow, Full)
	enterAs(t, g, &w[4], RankNormal, Queued)
	if w[2].woken.Load() != 1 || w[1].woken.Load() != 0 {
		t.Error("not the last of the low ones was displaced")
	}
	enterAs(t, g, &w[2], RankLow, Full)
	enterAs(t, g, &w[5], RankHigh, Queued)
	enterAs(t, g, &w[1], RankLow, Full)
	enterAs(t, g, &w[3], RankNormal, Full)
	g.Exit()
	enterAs(t, g, &w[5], RankHigh, Entered)
	g.Exit()
	enterAs(t, g, &w[4], RankNormal, Entered)
}
