// Package clients runs real client libraries and Redis's own tools through the
// proxy, each as its users do: ordinary commands, scripting helpers, pipelines,
// transactions, subscriptions, reconnects. What runs there is in js, golang and
// redispy.py; each program prints "ok" and how many checks passed.
package clients
