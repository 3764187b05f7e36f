// Package program builds scriptproxy for the tests of the whole program, runs it with a configuration, and asks it for what it
// serves to operators. What a client sees is for the tests themselves.
package program
