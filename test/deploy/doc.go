// Package deploy holds the tests of what is in deploy/: rules, dashboards, images, charts and packages are checked by the programs
// that will read them, and a mistake in them must fail here. The programs that are no Debian packages are built from the module
// in tools.
package deploy
