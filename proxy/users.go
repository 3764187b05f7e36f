//go:build linux

package proxy

import (
	"crypto/sha256"
	"crypto/subtle"

	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// User is a client that the proxy checks itself, in service mode.
type User struct {
	Name string
	// Password is the SHA-256 of the password.
	Password [sha256.Size]byte
	// Identity is the user of the server whose links carry what this one
	// asks; an anonymous one stands for that of the servers.
	Identity upstream.Identity
	// Upstream is the number of the user's servers; nil stands for those of
	// the listener.
	Upstream *int
}

// Users are those that service mode knows. They never change; a nil *Users
// knows nobody.
type Users struct{ byName map[string]*User }

// NewUsers makes the users of a list; a later one of the same name prevails.
func NewUsers(list []User) *Users {
	u := &Users{byName: make(map[string]*User, len(list))}
	for i := range list {
		u.byName[list[i].Name] = &list[i]
	}
	return u
}

// none reports that there is nobody to check, so that all are served.
func (u *Users) none() bool { return u == nil || len(u.byName) == 0 }

// has reports whether a user of that name exists.
func (u *Users) has(name string) bool { return u != nil && u.byName[name] != nil }

// check returns the user of that name if the password is hers, else nil. How
// long it takes says nothing of names or passwords.
func (u *Users) check(name, password []byte) *User {
	user, digest := u.byName[string(name)], sha256.Sum256(password)
	want := &digest
	if user != nil {
		want = &user.Password
	}
	if subtle.ConstantTimeCompare(digest[:], want[:]) != 1 {
		return nil
	}
	return user
}
