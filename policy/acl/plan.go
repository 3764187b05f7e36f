package acl

import (
	"strings"
)

// User is a user of the server that clients' calls travel as.
type User struct {
	Name string
	// Callers are the policy's names for the users whose calls travel as this one. None stands for any
	// caller: a service account.
	Callers []string
}

// Plan is what the server has to be told, and what it has to be like then.
type Plan struct {
	Users []UserPlan
	Notes []string // what the ACL cannot enforce, or enforces beyond the policy; sorted

	model  *model
	loader string
}

// UserPlan is the plan for one user. The permissions on keys and channels, the passwords and whether the user
// is on are left as they are on the server.
type UserPlan struct {
	Name  string
	Rules []string // what follows ACL SETUSER name

	denied   map[string]string // command → why it must be refused
	required []string          // commands that must be allowed
}

// Commands returns the commands that set the plan up, as arguments.
func (p *Plan) Commands() [][]string {
	list := make([][]string, len(p.Users))
	for i, u := range p.Users {
		list[i] = append([]string{"ACL", "SETUSER", u.Name}, u.Rules...)
	}
	return list
}

// Lines returns the commands that set the plan up as lines for redis-cli.
func (p *Plan) Lines() []string {
	var lines []string
	for _, command := range p.Commands() {
		for i, word := range command {
			command[i] = quote(word)
		}
		lines = append(lines, strings.Join(command, " "))
	}
	return lines
}

// quote writes a word as redis-cli reads it.
func quote(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(c rune) bool { return c <= ' ' || c == '"' || c == '\'' || c == '\\' || c == 0x7f }) {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(word) + `"`
}
