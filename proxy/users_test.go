//go:build linux

package proxy

import (
	"crypto/sha256"
	"testing"
)

func TestUserIsWhoKnowsThePassword(t *testing.T) {
	u := NewUsers([]User{
		{Name: "alice", Password: sha256.Sum256([]byte("old"))},
		{Name: "alice", Password: sha256.Sum256([]byte("secret"))}, // prevails
		{Name: "empty", Password: sha256.Sum256(nil)},
	})
	tests := []struct {
		name, password string
		ok             bool
	}{
		{"alice", "secret", true}, {"alice", "old", false}, {"alice", "", false}, {"Alice", "secret", false},
		{"empty", "", true}, {"empty", "x", false}, {"nobody", "secret", false}, {"nobody", "", false}, {"", "", false},
	}
	for _, test := range tests {
		got := u.check([]byte(test.name), []byte(test.password))
		if (got != nil) != test.ok || got != nil && got.Name != test.name {
			t.Errorf("%q with %q: got %v, want %v", test.name, test.password, got, test.ok)
		}
	}
	if u.none() || !u.has("alice") || u.has("nobody") {
		t.Error("the users are others than were given")
	}
	var nobody *Users
	if !nobody.none() || nobody.has("alice") || !NewUsers(nil).none() {
		t.Error("there are users although none was given")
	}
}
