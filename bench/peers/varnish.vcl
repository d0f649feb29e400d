# Varnish behind hitch: objects in memory (malloc), which is what it is best at; streaming to waiters.
vcl 4.1;
backend origin { .host = "127.0.0.1"; .port = "@ORIGIN_PLAIN@"; }
sub vcl_backend_response { set beresp.ttl = 1h; set beresp.do_stream = true; }
