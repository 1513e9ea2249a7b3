"""The reference agent system: three teams of agents behind one LLM service with cache, breakers and failover."""
