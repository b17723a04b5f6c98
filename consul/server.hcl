# Consul server of the Haven stack. Only keys that Consul 1.8 and today's releases both know.
# A server's name is its container's host name.
server           = true
bootstrap_expect = 3
data_dir         = "/var/lib/consul"
datacenter       = "haven"
bind_addr        = "{{ GetInterfaceIP \"eth0\" }}"
client_addr      = "0.0.0.0" # reachable on the internal storage network only
retry_join       = ["consul-1", "consul-2", "consul-3"]
retry_interval   = "1s"
log_level        = "INFO"

# The servers' addresses are fixed: one that goes down comes back, so it must stay a member. A removed
# one returns without a vote for 10 s, and a second failure in that time would be an outage.
leave_on_terminate      = false
skip_leave_on_interrupt = true
autopilot {
  cleanup_dead_servers = false
}

performance {
  raft_multiplier = 1 # elections in 2-4 s; serfHealth frees a lock 5.1 s after a server died at the earliest
}

limits {
  http_max_conns_per_client = 1000 # above the nodes' connection pools; the default of 200 drops the 201st
}

ports {
  dns = -1
}

telemetry {
  prometheus_retention_time = "60s"
  disable_hostname          = true
}

disable_update_check = true
disable_remote_exec  = true

# Later: acl {}, encrypt (gossip key) and TLS have their place here; their keys come from files that an
# init job makes, never from this repository.
