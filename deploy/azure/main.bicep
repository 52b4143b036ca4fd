// Nexarch on Azure Container Apps with Azure Managed Redis behind a private endpoint.
//
//   az group create --name nexarch --location westeurope
//   az deployment group create --resource-group nexarch --template-file deploy/azure/main.bicep \
//     --parameters image=REGISTRY.azurecr.io/nexarch:0.1.0 registry=REGISTRY
//
// No secret stands in this file or in an output, and none is given: the app logs in to Redis by its managed identity
// (Microsoft Entra ID; access keys are off), and the key that seals values in Redis is drawn by the deployment and goes into
// Key Vault. A further deployment draws another, so that what is in Redis is computed anew.
//
// The data live as long as the replica does. This build keeps them in a SQLite file, which must not lie on a network share,
// and Container Apps has no other lasting volume. Use it to try things out; where spans have to stay, use
// deploy/kubernetes with a managed disk. PostgreSQL is not in this template because this build does not support it.
//
// Not run where it was written: neither `bicep build` (the compiler could not be fetched) nor a deployment. What was checked:
// names and values of properties against the published types of these API versions, by hand.

@description('Where everything is made.')
param location string = resourceGroup().location

@description('First part of every name: letters and digits, the first one a letter.')
@minLength(3)
@maxLength(11)
param name string = 'nexarch'

@description('The image that deploy/Dockerfile builds, with its registry.')
param image string

@description('The Azure Container Registry of this resource group that has the image; empty for a public image.')
param registry string = ''

@description('Size of Azure Managed Redis. The smallest is enough for a team; docs/azure.md says how to size it.')
param redisSku string = 'Balanced_B0'

@description('Whom the alerts call: the id of an action group; empty for nobody.')
param actionGroupId string = ''

@description('Where the key that seals values in Redis comes from. Leave it to the deployment.')
@secure()
param seed string = newGuid()

var unique = uniqueString(resourceGroup().id)

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: '${name}-app'
  location: location
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: '${name}-network'
  location: location
  properties: {
    addressSpace: {
      addressPrefixes: ['10.40.0.0/16']
    }
    subnets: [
      {
        name: 'apps'
        properties: {
          addressPrefix: '10.40.0.0/23'
          delegations: [
            {
              name: 'apps'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: '10.40.2.0/24'
        }
      }
    ]
  }
}

resource redis 'Microsoft.Cache/redisEnterprise@2025-07-01' = {
  name: '${name}-${unique}'
  location: location
  sku: {
    name: redisSku
  }
  properties: {
    highAvailability: 'Enabled'
    minimumTlsVersion: '1.2'
    publicNetworkAccess: 'Disabled'
  }
}

resource database 'Microsoft.Cache/redisEnterprise/databases@2025-07-01' = {
  parent: redis
  name: 'default'
  properties: {
    clientProtocol: 'Encrypted'
    port: 10000
    clusteringPolicy: 'OSSCluster'
    // Every key has a TTL. NoEviction would refuse writes when memory is full.
    evictionPolicy: 'VolatileLRU'
    accessKeysAuthentication: 'Disabled'
  }
}

resource mayUseRedis 'Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments@2025-07-01' = {
  parent: database
  name: 'app'
  properties: {
    accessPolicyName: 'default'
    user: {
      objectId: identity.properties.principalId
    }
  }
}

// One endpoint for each service, and a zone so that its name leads there from inside of the network.
resource redisEndpoint 'Microsoft.Network/privateEndpoints@2024-05-01' = {
  name: '${name}-redis'
  location: location
  properties: {
    subnet: {
      id: '${network.id}/subnets/endpoints'
    }
    privateLinkServiceConnections: [
      {
        name: 'redis'
        properties: {
          privateLinkServiceId: redis.id
          groupIds: ['redisEnterprise']
        }
      }
    ]
  }
}

resource redisZone 'Microsoft.Network/privateDnsZones@2020-06-01' = {
  name: 'privatelink.redis.azure.net'
  location: 'global'
}

resource redisZoneLink 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2020-06-01' = {
  parent: redisZone
  name: '${name}-network'
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: network.id
    }
  }
}

resource redisZoneGroup 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = {
  parent: redisEndpoint
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: 'redis'
        properties: {
          privateDnsZoneId: redisZone.id
        }
      }
    ]
  }
}

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: take('${name}-${unique}', 24)
  location: location
  properties: {
    tenantId: subscription().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    // The platform of Container Apps reads it for the app, by the app's identity.
    publicNetworkAccess: 'Enabled'
  }
}

// 32 hexadecimal digits are 32 bytes, in base64.
resource encryptionKey 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = {
  parent: vault
  name: 'cache-encryption-key'
  properties: {
    value: base64(replace(seed, '-', ''))
  }
}

// Built-in role: Key Vault Secrets User.
resource readsSecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, identity.id, 'reads-secrets')
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '4633458b-17de-408a-b874-0445c86b69e6')
  }
}

resource images 'Microsoft.ContainerRegistry/registries@2023-07-01' existing = if (!empty(registry)) {
  name: empty(registry) ? 'none' : registry
}

// Built-in role: AcrPull.
resource pullsImages 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(registry)) {
  scope: images
  name: guid(images.id, identity.id, 'pulls-images')
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '7f951dda-4ed3-4680-a7ca-43fe172d538d')
  }
}

resource logs 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: '${name}-logs'
  location: location
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: 30
  }
}

resource environment 'Microsoft.App/managedEnvironments@2025-01-01' = {
  name: '${name}-apps'
  location: location
  properties: {
    vnetConfiguration: {
      infrastructureSubnetId: '${network.id}/subnets/apps'
      internal: false
    }
    workloadProfiles: [
      {
        name: 'Consumption'
        workloadProfileType: 'Consumption'
      }
    ]
    appLogsConfiguration: {
      destination: 'log-analytics'
      logAnalyticsConfiguration: {
        customerId: logs.properties.customerId
        sharedKey: logs.listKeys().primarySharedKey
      }
    }
  }
}

resource app 'Microsoft.App/containerApps@2025-01-01' = {
  name: name
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    environmentId: environment.id
    workloadProfileName: 'Consumption'
    configuration: {
      // Two revisions at once would be two servers of two databases.
      activeRevisionsMode: 'Single'
      ingress: {
        // HTTPS ends here; API, page, OTLP/HTTP and OTLP/gRPC share the port.
        external: true
        targetPort: 8000
        transport: 'auto'
        allowInsecure: false
      }
      registries: empty(registry) ? [] : [
        {
          server: '${registry}.azurecr.io'
          identity: identity.id
        }
      ]
      secrets: [
        {
          name: 'cache-encryption-key'
          keyVaultUrl: encryptionKey.properties.secretUri
          identity: identity.id
        }
      ]
    }
    template: {
      terminationGracePeriodSeconds: 40
      containers: [
        {
          name: 'nexarch'
          image: image
          resources: {
            cpu: json('1.0')
            memory: '2Gi'
          }
          env: [
            { name: 'HOST', value: '0.0.0.0' }
            { name: 'PORT', value: '8000' }
            { name: 'OTLP_GRPC_ADDR', value: 'off' }
            { name: 'OTLP_HTTP_ADDR', value: 'off' }
            { name: 'DATABASE_URL', value: 'sqlite:///data/nexarch.db' }
            { name: 'LOG_FORMAT', value: 'json' }
            { name: 'REDIS_HOST', value: redis.properties.hostName }
            { name: 'REDIS_AUTH', value: 'entra' }
            { name: 'AZURE_CLIENT_ID', value: identity.properties.clientId }
            { name: 'CACHE_ENCRYPTION_KEY', secretRef: 'cache-encryption-key' }
          ]
          probes: [
            {
              type: 'Readiness'
              httpGet: {
                path: '/api/v1/health/ready'
                port: 8000
              }
              periodSeconds: 5
            }
            {
              type: 'Liveness'
              httpGet: {
                path: '/api/v1/health'
                port: 8000
              }
              periodSeconds: 10
              failureThreshold: 6
            }
          ]
          volumeMounts: [
            { volumeName: 'data', mountPath: '/data' }
          ]
        }
      ]
      volumes: [
        { name: 'data', storageType: 'EmptyDir' }
      ]
      scale: {
        minReplicas: 1
        maxReplicas: 1
      }
    }
  }
  dependsOn: [readsSecrets, pullsImages, mayUseRedis, redisZoneGroup, redisZoneLink]
}

var actions = empty(actionGroupId) ? [] : [
  {
    actionGroupId: actionGroupId
  }
]

// Near its limit Redis evicts what would still have been used: reads stay right and become slower.
resource memoryAlert 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-redis-memory'
  location: 'global'
  properties: {
    description: 'Redis memory above 85 % for 15 minutes: values are evicted before their time. Take a larger size, or lower CACHE_TENANT_MAX_REDIS_MB.'
    severity: 2
    enabled: true
    scopes: [redis.id]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'memory'
          metricNamespace: 'Microsoft.Cache/redisEnterprise'
          metricName: 'usedmemorypercentage'
          operator: 'GreaterThan'
          threshold: 85
          timeAggregation: 'Maximum'
        }
      ]
    }
    actions: actions
  }
}

// A busy Redis answers late, and calls that take longer than REDIS_TIMEOUT_MS are given up.
resource processorAlert 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-redis-processor'
  location: 'global'
  properties: {
    description: 'Redis processor above 80 % for 15 minutes: answers come late. Take a larger size, or one of ComputeOptimized.'
    severity: 2
    enabled: true
    scopes: [redis.id]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'processor'
          metricNamespace: 'Microsoft.Cache/redisEnterprise'
          metricName: 'percentProcessorTime'
          operator: 'GreaterThan'
          threshold: 80
          timeAggregation: 'Maximum'
        }
      ]
    }
    actions: actions
  }
}

output url string = 'https://${app.properties.configuration.ingress.fqdn}'
output redisHost string = redis.properties.hostName
