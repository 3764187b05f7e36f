// Package docs holds the tests of the project's documents: their links lead somewhere, and the make targets that they name
// exist.
package docs
