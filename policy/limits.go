package policy

import "sync/atomic"

// table holds values by small numbers. Pages and values are made on first use, so that a rule which limits
// ten thousand scripts costs as much as are called. Reading takes no lock.
type table[T any] struct {
	pages []atomic.Pointer[[tablePage]atomic.Pointer[T]]
}

const tablePage = 64

func newTable[T any](size int) *table[T] {
	return &table[T]{make([]atomic.Pointer[[tablePage]atomic.Pointer[T]], (size+tablePage-1)/tablePage)}
}

// slot returns the place of value i.
func (t *table[T]) slot(i int32) *atomic.Pointer[T] {
	page := &t.pages[i/tablePage]
	if page.Load() == nil {
		page.CompareAndSwap(nil, new([tablePage]atomic.Pointer[T]))
	}
	return &page.Load()[i%tablePage]
}

// get returns value i, made by create when there is none; all callers get the same.
func (t *table[T]) get(i int32, create func() *T) *T {
	slot := t.slot(i)
	if v := slot.Load(); v != nil {
		return v
	}
	slot.CompareAndSwap(nil, create())
	return slot.Load()
}

// ruleLimits holds the limits of one rule that are in use.
type ruleLimits struct {
	gates *table[Gate]       // by script or command; nil when the rule has none
	rates [2]*table[Limiter] // by Per
}

func (s *Set) compileLimits() {
	// The subjects of plain commands count only for rules about them; one size keeps numbers simple.
	sizes := [2]int{PerScript: len(s.subjects), PerUser: maxUsers}
	for i, r := range s.rules {
		if r.gate > 0 {
			s.limits[i].gates = newTable[Gate](len(s.subjects))
		}
		for per, rate := range r.rates {
			if rate != nil {
				s.limits[i].rates[per] = newTable[Limiter](sizes[per])
			}
		}
	}
}

func (s *Set) gate(i int32, subject int32) *Gate {
	limit := s.rules[i].gate
	return s.limits[i].gates.get(subject, func() *Gate { return NewGate(limit) })
}

func (s *Set) limiter(i int32, per Per, number int32) *Limiter {
	rate := s.rules[i].rates[per]
	return s.limits[i].rates[per].get(number, func() *Limiter { return NewLimiter(*rate) })
}

// Inherit takes over the limits that old has in use, for rules whose name and limit are the same in both:
// budgets that were spent stay spent, and calls under way stay counted. Call it once, before the Set is
// published; old may be in use.
func (s *Set) Inherit(old *Set) {
	if old == nil {
		return
	}
	numbers := make(map[string]int, len(old.rules))
	for i, r := range old.rules {
		numbers[r.name] = i
	}
	users := s.inheritUsers(old)
	subjects := make(map[int32]int32, len(old.subjects))
	for name, was := range old.subjects {
		if now, ok := s.subjects[name]; ok {
			subjects[was] = now
		}
	}
	for i, r := range s.rules {
		was, known := numbers[r.name]
		if !known {
			continue
		}
		before := old.rules[was]
		if r.gate > 0 && r.gate == before.gate {
			move(s.limits[i].gates, old.limits[was].gates, subjects)
		}
		for per, rate := range r.rates {
			if rate != nil && before.rates[per] != nil && *rate == *before.rates[per] {
				move(s.limits[i].rates[per], old.limits[was].rates[per], [2]map[int32]int32{subjects, users}[per])
			}
		}
	}
}

// inheritUsers gives the users of old numbers in s, and returns these by the old ones. Only limits have a
// use for them.
func (s *Set) inheritUsers(old *Set) map[int32]int32 {
	numbers := make(map[int32]int32)
	if s.used>>attrUserRate&1 == 0 {
		return numbers
	}
	old.mu.RLock()
	defer old.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, was := range old.users {
		numbers[was.number] = s.user(name).number
	}
	return numbers
}

// move shares the values of old with t, under new numbers.
func move[T any](t, old *table[T], numbers map[int32]int32) {
	for was, now := range numbers {
		page := old.pages[was/tablePage].Load()
		if page == nil {
			continue
		}
		if v := page[was%tablePage].Load(); v != nil {
			t.slot(now).Store(v)
		}
	}
}
