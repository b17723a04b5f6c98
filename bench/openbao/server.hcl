# Three raft nodes with OpenBao's own defaults. Each node's id and addresses come from its environment.
storage "raft" {
  path = "/var/lib/openbao"

  retry_join {
    leader_api_addr = "http://raft-1:8200"
  }
  retry_join {
    leader_api_addr = "http://raft-2:8200"
  }
  retry_join {
    leader_api_addr = "http://raft-3:8200"
  }
}

listener "tcp" {
  address     = "0.0.0.0:8200"
  tls_disable = true
}

# A node that comes back opens itself, as Haven's does in this stack. For measurements only: the key is no secret.
seal "static" {
  current_key_id = "bench"
  current_key    = "env://BENCH_SEAL_KEY"
}

disable_mlock = true
log_level     = "info"
