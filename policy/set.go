package policy

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Set is a compiled policy: immutable to its users, and safe for any number of goroutines and loops. A
// change of the policy or of the catalog is a new Set; handles (Session, Target, Moment) belong
// to the Set that gave them.
type Set struct {
	spec              Spec
	catalog           Catalog
	rules             []*rule
	mode              Mode
	warnings          Problems
	commandCategories map[string][]string

	decisive   mask                    // rules that allow or deny
	setters    mask                    // rules that set an attribute
	attributes [][numAttributes]uint64 // by word: the rules that set each attribute
	used       uint16                  // attributes that some rule sets

	classes       [numClasses]mask
	listeners     []mask // the last one is for indexes that the catalog does not have
	networks      networkTable
	keys          axis
	arguments     axis
	scripts       []Target
	unknownScript *Target
	unregistered  int32 // the subject of all unregistered scripts
	knownCommands int   // the catalog's share of commands
	moment        atomic.Pointer[Moment]

	subjects map[string]int32
	limits   []ruleLimits

	mu       sync.RWMutex // guards what follows
	commands map[string]*Target
	users    map[string]*user
	sessions map[sessionKey]*Session
}

// Target is what a call is about, in the eyes of one Set: a script or a command. Calls of the same script
// share one.
type Target struct {
	set     *Set
	mask    mask
	subject int32
	command string // empty for scripts
}

// Of reports whether the target belongs to s.
func (t *Target) Of(s *Set) bool { return t != nil && t.set == s }

// Session is what one Set thinks of a client: its user, network and listener. Clients that no rule tells
// apart share one, so that it costs a session of the proxy one pointer.
type Session struct {
	set  *Set
	mask mask
	user *user
}

// Of reports whether the handle belongs to s; after a change of the Set, get a new one.
func (c *Session) Of(s *Set) bool { return c != nil && c.set == s }

// Moment is one minute in the eyes of one Set.
type Moment struct {
	set    *Set
	mask   mask
	minute int64
}

// Of reports whether the handle belongs to s.
func (m *Moment) Of(s *Set) bool { return m != nil && m.set == s }

// user is one user of a Set. Its number serves limits; beyond maxUsers, users share the last number.
type user struct {
	name   string
	number int32
	mask   mask
}

// maxUsers bounds the tables of users and sessions. It is far above what an ACL file holds; what comes
// beyond is served right, but not remembered.
const maxUsers = 1 << 16

type sessionKey struct {
	user     *user
	network  int
	listener int
}

// Mode returns the policy's mode.
func (s *Set) Mode() Mode { return s.mode }

// Warnings lists what is no error but may be a mistake.
func (s *Set) Warnings() Problems { return s.warnings }

// Rules returns the policy's rules in their order, which is that of rule numbers. It must not be changed.
func (s *Set) Rules() []Rule { return s.spec.Rules }

// Spec returns what the Set was compiled from. It must not be changed.
func (s *Set) Spec() Spec { return s.spec }

// Session returns the handle for a client; addr is the zero Addr for unix sockets, and listener an index
// into Catalog.Listeners. It is for connects and for changes of the user, not for each request: it takes a
// lock, and allocates when the client is the first of its kind.
func (s *Set) Session(name string, addr netip.Addr, listener int) *Session {
	network := s.networks.piece(addr)
	if listener < 0 || listener >= len(s.catalog.Listeners) {
		listener = len(s.catalog.Listeners)
	}
	s.mu.RLock()
	u := s.users[name]
	found := s.sessions[sessionKey{u, network, listener}]
	s.mu.RUnlock()
	if found != nil {
		return found
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u = s.user(name)
	key := sessionKey{u, network, listener}
	if found := s.sessions[key]; found != nil {
		return found
	}
	c := &Session{s, u.mask.and(s.networks.mask(network), s.listeners[listener]), u}
	if len(s.sessions) < maxUsers && s.users[name] == u {
		s.sessions[key] = c
	}
	return c
}

// user returns the user of that name, which it makes when there is none. The lock must be held.
func (s *Set) user(name string) *user {
	u := s.users[name]
	if u == nil {
		u = &user{name, int32(len(s.users)), s.where(func(r *rule) bool { return r.matchesUser(name) })}
		if u.number < maxUsers-1 {
			s.users[name] = u
		}
	}
	return u
}

// Moment returns the handle for t. It changes once a minute; within one it is the same.
func (s *Set) Moment(t time.Time) *Moment {
	minute := t.Unix() / 60
	if m := s.moment.Load(); m != nil && m.minute == minute {
		return m
	}
	m := &Moment{s, s.where(func(r *rule) bool { return r.hours == nil || r.hours.contains(t) }), minute}
	s.moment.Store(m)
	return m
}

// Script returns the handle of a registered script, or the one for Unregistered.
func (s *Set) Script(ref ScriptRef) *Target {
	if ref < 0 || int(ref) >= len(s.scripts) {
		return s.unknownScript
	}
	return &s.scripts[ref]
}

// Unregistered returns a handle for a script that the catalog does not hold but of which something is
// known: its sha, the commands it uses, its findings, the function's name. Name, Version and Tags are
// ignored. It takes microseconds and allocates: keep it with the script.
func (s *Set) Unregistered(info Script) *Target {
	info = info.folded()
	info.Name, info.Version, info.Tags = "", "", nil
	return &Target{
		set:     s,
		mask:    s.where(func(r *rule) bool { return r.matchesScript(&info, false, s.categoriesOf) }),
		subject: s.unregistered,
	}
}

// maxUnknownCommands bounds how many commands that are not in the catalog are remembered: modules have tens
// of commands; more than that is somebody's noise.
const maxUnknownCommands = 1024

// Command returns the handle of a plain command; sub is its subcommand or empty, in any case. For a command
// that the catalog does not hold it takes a lock, and allocates at first: look it up once per command and
// Set, not per request, where commands are known.
func (s *Set) Command(name, sub string) *Target {
	full := CommandName(name, sub)
	s.mu.RLock()
	t := s.commands[full]
	s.mu.RUnlock()
	if t != nil {
		return t
	}
	t = s.newCommand(full)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.commands[full]; known != nil {
		return known
	}
	if len(s.commands) < s.knownCommands+maxUnknownCommands {
		s.commands[full] = t
	}
	return t
}

// Asks reports whether Decide can do anything about the command: when it cannot, there is no need to ask.
// It is for the time at which a Set is taken into use.
func (s *Set) Asks(command *Target) bool {
	if s.mode == ModeOff {
		return false
	}
	if s.spec.DefaultCommands == Deny {
		return true
	}
	for _, w := range command.mask {
		if w != 0 {
			return true
		}
	}
	return false
}
